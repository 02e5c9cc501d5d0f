"""Tensors of a source, whatever file they lie in: known by name and dtype, read one at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from bark_jax.checkpoint import read_json

from .errors import ConversionError, refuse
from .files import inside
from .torch_file import TorchTensor, read_torch_file

_COMPILED = "_orig_mod."  # torch.compile puts it in front of every name
_SAFETENSORS_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor in a file."""

    label: str  # file and name, for messages
    dtype: str
    read: Callable[[], np.ndarray]


LazyTensors = dict[str, LazyTensor]


def read_tensors(path: Path) -> LazyTensors:
    """The tensors of a `.bin`, `.th` or `.safetensors` file, or of all shards of an `.index.json`, by name.

    Raises CheckpointError, mostly a ConversionError, naming the file.
    """
    return _unprefixed(path, _stored(path))


def torch_tensors(path: Path, state: Any) -> LazyTensors:
    """The tensors of a state dict that `read_torch_file` found in the file."""
    return _unprefixed(path, _state_dict(path, state))


def _unprefixed(path: Path, tensors: LazyTensors) -> LazyTensors:
    names = {name: name.removeprefix(_COMPILED) for name in tensors}
    if len(set(names.values())) < len(names):
        raise ConversionError(f"{path} holds tensors twice: with and without the prefix {_COMPILED}")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _stored(path: Path) -> LazyTensors:
    """By the names that the file has."""
    if path.suffix == ".json":
        return _sharded(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    return _state_dict(path, read_torch_file(path))


def _state_dict(path: Path, state: Any) -> LazyTensors:
    if not isinstance(state, dict):
        raise ConversionError(f"{path} holds no dict of tensors")
    tensors = {key: value for key, value in state.items() if type(key) is str and type(value) is TorchTensor}
    refuse(f"{path} holds other things than tensors", [f"{key!r:.200}" for key in state if key not in tensors])
    return {key: LazyTensor(_label(path, key), tensor.dtype.name, tensor.read) for key, tensor in tensors.items()}


def _safetensors(path: Path) -> LazyTensors:
    try:
        file: Any = safe_open(path, framework="np")
        tensors = {}
        for name in file.keys():  # noqa: SIM118
            code = file.get_slice(name).get_dtype()
            dtype = _SAFETENSORS_DTYPES.get(code, code)
            tensors[name] = LazyTensor(_label(path, name), dtype, partial(file.get_tensor, name))
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
