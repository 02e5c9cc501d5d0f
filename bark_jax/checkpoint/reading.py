"""Reading a converted checkpoint (see `bark_jax.checkpoint.layout`)."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from safetensors import SafetensorError, safe_open

from bark_jax.checkpoint.layout import FORMAT, VERSION, CheckpointError
from bark_jax.config import BarkConfig, ConfigError
from bark_jax.models.parameters import ParameterError, Put, abstract_network, fill
from bark_jax.sharding import put_parameter


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder is a converted checkpoint, of any version."""
    try:
        return read_json(folder / "config.json").get("format") == FORMAT
    except CheckpointError:
        return False


def read_config(folder: Path) -> BarkConfig:
    """The configuration of a converted checkpoint. Raises CheckpointError."""
    path = folder / "config.json"
    try:
        values = read_json(path)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} is not a converted checkpoint: {error}") from error
    if values.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder} is not a converted checkpoint: convert it with `bark-jax convert`")
    if (version := values.pop("version", None)) != VERSION:
        raise CheckpointError(f"{path} has format version {version}, this release reads {VERSION}: convert it again")
    try:
        return BarkConfig.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, not an object")
    return values


def read_network(
    folder: Path,
    name: str,
    config: BarkConfig,
    *,
    param_dtype: DTypeLike | None = None,
    dtype: DTypeLike = jnp.float32,
    put: Put = put_parameter,
) -> nnx.Module:
    """The network `name` of a converted checkpoint.

    param_dtype of the parameters, None = as stored; dtype of the computation. put: where each parameter goes, by
    default to the default device. The file is memory-mapped and read tensor by tensor, so that no two copies of the
    network exist. Raises CheckpointError when it is missing, damaged or does not fit the configuration.
    """
    path = folder / f"{name}.safetensors"
    abstract = abstract_network(config, name, dtype=dtype)
    if name == "codec":
        param_dtype = jnp.float32
    try:
        with safe_open(path, framework="np") as file:
            tensors = {
                path: put(path, np.asarray(file.get_tensor(path), param_dtype))
                for path in file.keys()  # noqa: SIM118
            }
        return fill(abstract, tensors)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; convert or download it again") from error
    except ParameterError as error:
        raise CheckpointError(f"{path}: {error}") from error
