"""The one model behind Suno's functions, which are not handed any.

`preload_models` loads it, or else the first call that needs it. This is the only state that bark_jax keeps in a module,
because Suno's interface is global; a lock guards it. New code should hold a `Bark` of its own.
"""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

import jax
import numpy as np
from jax.sharding import Mesh

from bark_jax.bark import Bark
from bark_jax.config import BarkConfig
from bark_jax.settings import SettingsError
from bark_jax.sharding import DATA
from bark_jax.suno.constants import SAMPLE_RATE

LARGE, SMALL = "suno/bark", "suno/bark-small"

SWITCHES = {"USE_SMALL_MODELS": "SUNO_USE_SMALL_MODELS", "OFFLOAD_CPU": "SUNO_OFFLOAD_CPU"}
"""Suno's names of environment variables."""

_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


Source: TypeAlias = str | Bark | tuple[str, str, str]
"""A model, or one for each of the transformers."""


@dataclass(frozen=True, kw_only=True)
class _Choice:
    source: Source
    on_cpu: bool


@dataclass
class _Slot:
    """What is loaded, and by which choice."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    choice: _Choice | None = None
    bark: Bark | None = None


_slot = _Slot()


def preload_models(
    text_use_gpu: bool = True,
    text_use_small: bool = False,
    coarse_use_gpu: bool = True,
    coarse_use_small: bool = False,
    fine_use_gpu: bool = True,
    fine_use_small: bool = False,
    codec_use_gpu: bool = True,
    force_reload: bool = False,
    *,
    model: str | Path | Bark | None = None,
) -> None:
    """Load the model that all functions use from now on, unless it is the one already loaded.

    model: a folder, a hub id or `random:small` (see `Bark.from_pretrained`), or a `Bark`. Without it,
    `*_use_small` stands for the network in `suno/bark-small` instead of that in `suno/bark`; without either, a loaded
    model stays, else `suno/bark` is loaded, or `suno/bark-small` if the environment says SUNO_USE_SMALL_MODELS. With
    all `*_use_gpu=False` it runs on the CPU in float32. SUNO_OFFLOAD_CPU keeps only the network at work on the device.
    Both variables are read when a model is loaded. force_reload: load it again, or what the environment says if nothing
    else is asked for. Until the new model is complete the old one stays.

    Raises SettingsError for stages on different devices, where there are several, and what `Bark.from_pretrained`
    raises.
    """
    source = _source(model, text_use_small=text_use_small, coarse_use_small=coarse_use_small,
                     fine_use_small=fine_use_small)  # fmt: skip
    on_cpu = _on_cpu(text_use_gpu=text_use_gpu, coarse_use_gpu=coarse_use_gpu, fine_use_gpu=fine_use_gpu,
                     codec_use_gpu=codec_use_gpu)  # fmt: skip
    with _slot.lock:
        kept = None if force_reload else _slot.choice
        choice = _Choice(source=source or (kept.source if kept else _default_source()), on_cpu=on_cpu)
        if choice != kept or _slot.bark is None:
            _slot.bark, _slot.choice = _load(choice), choice


def loaded_model() -> Bark:
    """The model in use; `preload_models()` if there is none."""
    with _slot.lock:
        if _slot.bark is None:
            preload_models()
        return cast(Bark, _slot.bark)


def model_if_loaded() -> Bark | None:
    """The model in use, if there is one."""
    with _slot.lock:
        return _slot.bark


def drop_model() -> None:
    """Forget the model in use, and which it was if it was handed over as a `Bark`."""
    with _slot.lock:
        _slot.bark = None
        if _slot.choice and isinstance(_slot.choice.source, Bark):
            _slot.choice = None


def switch(name: str) -> bool:
    """What the environment says now of one of `SWITCHES`. Raises SettingsError for what is neither true nor false."""
    variable = SWITCHES[name]
    try:
        return boolean(os.environ.get(variable) or "false")
    except SettingsError as error:
        raise SettingsError(f"the environment variable {variable}: {error}") from error


def boolean(word: str) -> bool:
    """What true, t, yes, 1 and false, f, no, 0 mean, in upper or lower case. Raises SettingsError."""
    if word.lower() not in _BOOLEANS:
        raise SettingsError(f"{word!r} is none of {', '.join(_BOOLEANS)}")
    return _BOOLEANS[word.lower()]


def _source(model: str | Path | Bark | None, **use_small: bool) -> Source | None:
    """What the arguments name, if they name anything."""
    if model is not None:
        if any(use_small.values()):
            raise SettingsError(f"give model or {', '.join(use_small)}, not both")
        return model if isinstance(model, Bark) else str(model)
    if not any(use_small.values()):
        return None
    if all(use_small.values()) or switch("USE_SMALL_MODELS"):  # which makes all of them small
        return SMALL
    text, coarse, fine = (SMALL if small else LARGE for small in use_small.values())
    return text, coarse, fine


def _default_source() -> str:
    return SMALL if switch("USE_SMALL_MODELS") else LARGE


def _on_cpu(**use_gpu: bool) -> bool:
    """Whether the CPU is asked for. Raises SettingsError for a mixture, unless there is nothing but a CPU."""
    flags = set(map(bool, use_gpu.values()))
    if len(flags) > 1 and jax.default_backend() != "cpu":
        given = ", ".join(f"{name}={value}" for name, value in use_gpu.items())
        raise SettingsError(
            "all stages run on one device (SUNO_OFFLOAD_CPU=1 keeps only the one at work on a GPU), "
            f"so these must be alike: {given}"
        )
    return flags == {False}


def _load(choice: _Choice) -> Bark:
    bark = _bark(choice)
    rate = bark.config.codec.sample_rate
    if rate != SAMPLE_RATE:
        raise SettingsError(f"this model speaks at {rate} Hz, Suno's functions at {SAMPLE_RATE} Hz: use Bark itself")
    return bark


def _bark(choice: _Choice) -> Bark:
    if isinstance(choice.source, Bark):
        if choice.on_cpu:
            raise SettingsError("a Bark stays on its devices: leave out text_use_gpu=False and its like")
        return choice.source
    if isinstance(choice.source, tuple):
        return _combined(choice.source, choice.on_cpu)
    if choice.on_cpu:
        cpu = Mesh(np.array(jax.local_devices(backend="cpu")[:1]), (DATA,))
        return Bark.from_pretrained(choice.source, dtype="float32", mesh=cpu, progress=True)
    return Bark.from_pretrained(choice.source, offload=switch("OFFLOAD_CPU"), progress=True)


def _combined(sources: tuple[str, str, str], on_cpu: bool) -> Bark:
    """One model of the transformers of several; all else is that of the first."""
    parts = {source: _bark(_Choice(source=source, on_cpu=on_cpu)) for source in dict.fromkeys(sources)}
    first, *_ = parts.values()
    owners = dict(zip(("semantic", "coarse", "fine"), (parts[source] for source in sources), strict=True))
    owners["codec"] = first
    return Bark(
        BarkConfig(**{name: getattr(owner.config, name) for name, owner in owners.items()}),
        {name: getattr(owner, name) for name, owner in owners.items()},
        first.tokenizer, voice_folder=first.voice_folder, mesh=first.mesh, offload=first.offload,
    )  # fmt: skip
