"""The one model behind Suno's functions, which are not handed any.

`preload_models` loads it, or else the first call that needs it. This is the only state that bark_jax keeps in a module,
because Suno's interface is global; a lock guards it. New code should hold a `Bark` of its own.
"""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import jax
import numpy as np
from jax.sharding import Mesh

from bark_jax.bark import Bark
from bark_jax.config import EncodecConfig
from bark_jax.settings import SettingsError
from bark_jax.sharding import DATA

SAMPLE_RATE = EncodecConfig.sample_rate  # Hz
LARGE, SMALL = "suno/bark", "suno/bark-small"

_BOOLEANS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class _Choice:
    source: str | Bark
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
    `*_use_small` stands for `suno/bark-small`; without either, a loaded model stays, else `suno/bark` is loaded, or
    `suno/bark-small` if the environment says SUNO_USE_SMALL_MODELS. With `*_use_gpu=False` it runs on the CPU in
    float32. SUNO_OFFLOAD_CPU keeps only the network at work on the device. Both variables are read when a model is
    loaded. force_reload: load it anew, or what the environment says if nothing else is asked for. Until the new model
    is complete the old one stays.

    Raises SettingsError for stages of different sizes or on different devices, and what `Bark.from_pretrained` raises.
    """
    source = _source(model, text_use_small=text_use_small, coarse_use_small=coarse_use_small,
                     fine_use_small=fine_use_small)  # fmt: skip
    on_gpu = _common(
        "all stages run on one device (SUNO_OFFLOAD_CPU=1 keeps only the one at work on a GPU)",
        text_use_gpu=text_use_gpu, coarse_use_gpu=coarse_use_gpu, fine_use_gpu=fine_use_gpu,
        codec_use_gpu=codec_use_gpu,
    )  # fmt: skip
    with _slot.lock:
        kept = None if force_reload else _slot.choice
        choice = _Choice(source=source or (kept.source if kept else _default_source()), on_cpu=not on_gpu)
        if choice != kept:
            _slot.bark, _slot.choice = _load(choice), choice


def loaded_model() -> Bark:
    """The model in use; `preload_models()` if there is none."""
    with _slot.lock:
        if _slot.bark is None:
            preload_models()
        return cast(Bark, _slot.bark)


def boolean(word: str) -> bool:
    """What true, t, yes, 1 and false, f, no, 0 mean, in upper or lower case. Raises SettingsError."""
    if word.lower() not in _BOOLEANS:
        raise SettingsError(f"{word!r} is none of {', '.join(_BOOLEANS)}")
    return _BOOLEANS[word.lower()]


def _source(model: str | Path | Bark | None, **use_small: bool) -> str | Bark | None:
    """The model that the arguments name, if they name one."""
    if model is not None:
        if any(use_small.values()):
            raise SettingsError(f"give model or {', '.join(use_small)}, not both")
        return model if isinstance(model, Bark) else str(model)
    if not any(use_small.values()):
        return None
    if not _environment("SUNO_USE_SMALL_MODELS"):  # which makes all of them small
        _common("all stages are of one size", **use_small)
    return SMALL


def _default_source() -> str:
    return SMALL if _environment("SUNO_USE_SMALL_MODELS") else LARGE


def _common(rule: str, **flags: bool) -> bool:
    """The value that all flags have. Raises SettingsError, telling the rule, when they differ."""
    if len(set(map(bool, flags.values()))) > 1:
        given = ", ".join(f"{name}={value}" for name, value in flags.items())
        raise SettingsError(f"{rule}, so these must be alike: {given}")
    return all(flags.values())


def _environment(variable: str) -> bool:
    try:
        return boolean(os.environ.get(variable) or "false")
    except SettingsError as error:
        raise SettingsError(f"the environment variable {variable}: {error}") from error


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
    if choice.on_cpu:
        cpu = Mesh(np.array(jax.local_devices(backend="cpu")[:1]), (DATA,))
        return Bark.from_pretrained(choice.source, dtype="float32", mesh=cpu, progress=True)
    return Bark.from_pretrained(choice.source, offload=_environment("SUNO_OFFLOAD_CPU"), progress=True)
