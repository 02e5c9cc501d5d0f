"""A folder with HuBERT and, if it has one, its quantiser, converted by `bark_jax.convert.hubert`.

config.json            "format": "bark_jax_hubert", "version", "layer", "language", and both networks' sizes
hubert.safetensors     float32, tensors under their dotted NNX paths
quantizer.safetensors
"""

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from bark_jax.checkpoint import CheckpointError, read_json
from bark_jax.models.hubert import Hubert, HubertConfig
from bark_jax.models.parameters import ParameterError, fill
from bark_jax.models.semantic_quantizer import QuantizerConfig, SemanticQuantizer

FORMAT, VERSION = "bark_jax_hubert", 1
LAYER = 9  # blocks that run: `CustomHubert(output_layer=9)` of the quantisers' training, which is fairseq's ninth
_MOST = 2**16  # of a size

C = TypeVar("C", HubertConfig, QuantizerConfig)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ears:
    """The networks in a folder, and what is known of them."""

    hubert: Hubert
    quantizer: SemanticQuantizer | None
    layer: int  # blocks before the features that the quantiser takes
    language: str | None  # that the quantiser was trained on
    fingerprint: str  # of the files


def is_ears(folder: Path) -> bool:
    """Whether the folder holds a converted HuBERT."""
    try:
        return read_json(folder / "config.json").get("format") == FORMAT
    except CheckpointError:
        return False


def describe(
    hubert: HubertConfig, quantizer: QuantizerConfig | None, layer: int, language: str | None
) -> dict[str, Any]:
    """The content of config.json."""
    return {
        "format": FORMAT, "version": VERSION, "layer": layer, "language": language,
        "hubert": dataclasses.asdict(hubert), "quantizer": quantizer and dataclasses.asdict(quantizer),
    }  # fmt: skip


def read_ears(folder: Path) -> Ears:
    """The networks in a folder. Raises CheckpointError naming the file."""
    values = read_json(folder / "config.json")
    if values.get("format") != FORMAT or values.get("version") != VERSION:
        raise CheckpointError(f"{folder} holds no converted HuBERT of this release: `bark-jax convert` makes one")
    try:
        config = checked(HubertConfig, values["hubert"])
        quantizer = checked(QuantizerConfig, values["quantizer"]) if values["quantizer"] else None
        layer, language = values["layer"], values["language"]
        if type(layer) is not int or not 0 <= layer <= config.layers or not isinstance(language, str | None):
            raise ValueError(f"layer {layer!r:.50} or language {language!r:.50}")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
    hubert = cast(Hubert, _read(folder / "hubert.safetensors", nnx.eval_shape(lambda: Hubert(config))))
    own = None
    if quantizer is not None:
        sizes = quantizer
        abstract = nnx.eval_shape(lambda: SemanticQuantizer(sizes))
        own = cast(SemanticQuantizer, _read(folder / "quantizer.safetensors", abstract))
    return Ears(hubert=hubert, quantizer=own, layer=layer, language=language, fingerprint=_fingerprint(folder))


def checked(kind: type[C], values: dict[str, Any]) -> C:
    """A config of untrusted values. Raises ValueError, TypeError."""
    sizes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    config = kind(**sizes)
    for name, value in dataclasses.asdict(config).items():
        given = value if isinstance(value, tuple) else (value,)
        if not given or any(type(size) is not int or not (name != "version") <= size <= _MOST for size in given):
            raise ValueError(f"{name} is {value!r:.100}, not sizes of 1 … {_MOST}")
    if isinstance(config, QuantizerConfig):
        if config.version not in (0, 1):
            raise ValueError(f"version {config.version} of a quantiser: 0 and 1 are known")
    elif len(config.kernels) != len(config.strides) or config.width % math.lcm(config.heads, config.position_groups):
        raise ValueError("the sizes of HuBERT do not fit each other")
    return config


def _read(path: Path, abstract: nnx.Module) -> nnx.Module:
    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: jnp.asarray(file.get_tensor(name), jnp.float32) for name in file.keys()}  # noqa: SIM118
        return fill(abstract, tensors)
    except (OSError, SafetensorError, ParameterError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; convert it again") from error


def _fingerprint(folder: Path) -> str:
    """SHA-256 of the config, and of some bytes of each file: gigabytes are not read for it."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for name in ("hubert", "quantizer"):
        if (path := folder / f"{name}.safetensors").is_file():
            data = np.memmap(path, np.uint8, "r")
            digest.update(data[:: max(1, len(data) // 2**20)].tobytes())
    return digest.hexdigest()
