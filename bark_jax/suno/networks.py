"""The loaded networks under Suno's names: `models`, and the functions that load and drop them.

They are this project's modules, not PyTorch's. All four are loaded and dropped together.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

import jax

from bark_jax.bark import Bark
from bark_jax.models.encodec import Encodec
from bark_jax.settings import SettingsError
from bark_jax.suno.loading import drop_model, model_if_loaded, preload_models

T = TypeVar("T")

_NAMES = {"text": "semantic", "coarse": "coarse", "fine": "fine", "codec": "codec"}  # Suno's → ours


class _View(Mapping[str, T]):
    """What `read` finds for each network of the loaded model, under Suno's names; empty while none is loaded."""

    def __init__(self, read: Callable[[Bark, str], T]) -> None:
        self._read = read

    def __getitem__(self, name: str) -> T:
        bark = model_if_loaded()
        if bark is None or name not in _NAMES:
            raise KeyError(name)
        return self._read(bark, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES if model_if_loaded() else ())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _network(bark: Bark, name: str) -> Any:
    network = getattr(bark, _NAMES[name])
    return {"model": network, "tokenizer": bark.tokenizer} if name == "text" else network


def _device(bark: Bark, name: str) -> str:
    return (jax.devices()[0] if bark.mesh is None else bark.mesh.devices.flat[0]).platform


models: Mapping[str, Any] = _View(_network)
"""The networks by name: `text` (a dict with `model` and `tokenizer`), `coarse`, `fine`, `codec`. Read only."""

models_devices: Mapping[str, str] = _View(_device)
"""The platform that each of them runs on: `cpu`, `gpu` or `tpu`. Read only."""


def load_model(
    use_gpu: bool = True,
    use_small: bool = False,
    force_reload: bool = False,
    model_type: Literal["text", "coarse", "fine"] = "text",
) -> Any:
    """The network of a stage, as in `models`; unless one is loaded, `preload_models` loads a whole model first.

    Raises SettingsError for another model_type, and what `preload_models` raises.
    """
    if model_type not in ("text", "coarse", "fine"):
        raise SettingsError(f"model_type must be text, coarse or fine, not {model_type!r}: see load_codec_model")
    _ensure_loaded(use_gpu, use_small, force_reload)
    return models[model_type]


def load_codec_model(use_gpu: bool = True, force_reload: bool = False) -> Encodec:
    """The codec, as `load_model` gives the other networks. `Bark.encode` makes codes of a waveform."""
    _ensure_loaded(use_gpu, False, force_reload)
    codec: Encodec = models["codec"]
    return codec


def clean_models(model_key: str | None = None) -> None:
    """Free the memory of the loaded model; the next call loads it again, or the default one after a `Bark` of yours.

    model_key: of a network; naming one drops all, if it is loaded.
    """
    if model_key is None or model_key in models:
        drop_model()


def _ensure_loaded(use_gpu: bool, use_small: bool, force_reload: bool) -> None:
    if force_reload or model_if_loaded() is None:
        preload_models(use_gpu, use_small, use_gpu, use_small, use_gpu, use_small, use_gpu, force_reload)
