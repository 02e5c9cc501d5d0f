"""Tensors of a source in any kind of file: known by name, dtype and shape, read one at a time."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from bark_jax.checkpoint import read_json
from bark_jax.layouts import PREFIXES

from .errors import ConversionError, refuse
from .files import inside
from .rules import COUNTERS
from .torch_file import TorchTensor, read_torch_file

# Parts of names that training tools put anywhere: torch.compile, DataParallel and the like, FSDP, checkpointing.
_TOOLS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_WRAPPERS = (  # where training scripts keep the weights; averages of them last
    "model", "state_dict", "model_state_dict", "module", "weights", "net", "network", "params", "ema",
    "ema_state_dict", "ema_model", "shadow", "shadow_params",
)  # fmt: skip
_NETWORKS = frozenset(prefix.partition(".")[0] for prefix in PREFIXES.values())
_MOST_WRAPPERS = 3  # in one another
_ARGUMENTS = ("model_args", "args", "config", "hyper_parameters")  # and the sizes
_LORA = re.compile(r"(?:.*\.)?((?i:lora)(?:[._]?\w+)?|base_layer)(?:\..*)?")  # lora_A, loraA, lora.A; PEFT's
_LORA_REMEDY = (
    "merge them into the weights first (peft: `model = model.merge_and_unload()`; otherwise weight += scale · B @ A), "
    "save the result, and convert that"
)
_SAFETENSORS_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor in a file."""

    label: str  # file and name, for messages
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


LazyTensors = dict[str, LazyTensor]


def read_tensors(path: Path) -> LazyTensors:
    """The tensors of a `.bin`, `.th` or `.safetensors` file, or of all shards of an `.index.json`, by name.

    Raises CheckpointError, mostly a ConversionError, naming the file.
    """
    return _unprefixed(path, _stored(path))


def read_model_file(path: Path) -> tuple[dict[str, Any], LazyTensors]:
    """The sizes that a torch.save file names, by its own names, and the tensors of its model; no optimizer's.

    The model is the file itself, a bare state dict, or what lies under "model" or another of the usual keys. Raises
    ConversionError.
    """
    arguments, state = _unwrapped(read_torch_file(path))
    return arguments, _unprefixed(path, _state_dict(path, state))


def _unwrapped(content: Any) -> tuple[dict[str, Any], Any]:
    """The arguments beside a state dict, and the state dict."""
    arguments: dict[str, Any] = {}
    if not isinstance(content, dict):
        return arguments, content
    for _ in range(_MOST_WRAPPERS):
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        said: dict[Any, Any] = next((content[key] for key in _ARGUMENTS if isinstance(content.get(key), dict)), {})
        arguments |= {key: value for key, value in said.items() if type(value) in (int, float, bool, str)}
        content = inner
    return arguments, content


def _unprefixed(path: Path, tensors: LazyTensors) -> LazyTensors:
    """By names without what training tools put into them. Raises ConversionError for what has to be merged first."""
    _refuse_lora(path, tensors)
    cleaned = {name: _cleaned(name) for name in tensors}
    counters = {stored: name for stored, name in cleaned.items() if name in COUNTERS}
    names = counters | _without_shared({stored: name for stored, name in cleaned.items() if stored not in counters})
    if len(set(names.values())) < len(names):
        raise ConversionError(f"{path} holds tensors twice: with and without a prefix, one of {', '.join(_TOOLS)}")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _cleaned(name: str) -> str:
    parts = [part for part in name.split(".") if part not in _TOOLS]
    return ".".join(parts[1:] if parts[:1] == ["model"] else parts)  # of Lightning and the like


def _without_shared(names: dict[str, str]) -> dict[str, str]:
    """Without what all names begin with, such as "gpt" or PEFT's "base_model.model": a module around the network."""
    while True:
        first = {name.partition(".")[0] for name in names.values()}
        if len(names) < 2 or len(first) != 1 or first & _NETWORKS or not all("." in name for name in names.values()):
            return names
        names = {stored: name.partition(".")[2] for stored, name in names.items()}


def _refuse_lora(path: Path, names: Iterable[str]) -> None:
    if found := [match for name in names if (match := _LORA.fullmatch(name))]:
        kinds = ", ".join(sorted({match[1] for match in found}))
        raise ConversionError(
            f"{path} holds {len(found)} tensors of LoRA that are not merged ({kinds}; the first is "
            f"{found[0][0]!r:.200}): {_LORA_REMEDY}"
        )


def _stored(path: Path) -> LazyTensors:
    """By the names that the file has."""
    if path.suffix == ".json":
        return _sharded(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    return _state_dict(path, _unwrapped(read_torch_file(path))[1])


def _state_dict(path: Path, state: Any) -> LazyTensors:
    if not isinstance(state, dict):
        raise ConversionError(f"{path} holds no dict of tensors")
    tensors = {key: value for key, value in state.items() if type(key) is str and type(value) is TorchTensor}
    counters = {key: value for key, value in state.items() if key in COUNTERS and type(value) in (int, float)}
    known = tensors | counters
    refuse(f"{path} holds other things than tensors", [f"{key!r:.200}" for key in state if key not in known])
    return {
        key: LazyTensor(_label(path, key), type(value).__name__, (), partial(np.asarray, value))
        for key, value in counters.items()
    } | {
        key: LazyTensor(_label(path, key), tensor.dtype.name, tensor.shape, tensor.read)
        for key, tensor in tensors.items()
    }


def _safetensors(path: Path) -> LazyTensors:
    try:
        file: Any = safe_open(path, framework="np")
        tensors = {}
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            code = part.get_dtype()
            dtype, shape = _SAFETENSORS_DTYPES.get(code, code), tuple(part.get_shape())
            tensors[name] = LazyTensor(_label(path, name), dtype, shape, partial(file.get_tensor, name))
    except (OSError, SafetensorError) as error:
        raise ConversionError(f"{path} is not a safetensors file, or damaged ({error}): download it again") from error
    return tensors


def _label(path: Path, name: str) -> str:
    return f"{path.name}: {name!r:.200}"


def _sharded(index: Path) -> LazyTensors:
    """All tensors of the shards that an index file lists; it must list each of them, in the right shard."""
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise ConversionError(f"{index} has no weight_map from tensors to files")
    tensors: LazyTensors = {}
    problems = []
    for file in sorted(set(files.values())):
        if not (shard := inside(index.parent, file)).is_file():
            problems.append(f"the shard {file!r:.200} is missing: download it")
            continue
        found = _stored(shard)
        listed = {name for name, owner in files.items() if owner == file}
        problems += [f"{name!r:.200}: {file!r:.200} and the index differ" for name in sorted(found.keys() ^ listed)]
        tensors |= found
    refuse(f"{index} and its shards do not fit each other", problems)
    return tensors
