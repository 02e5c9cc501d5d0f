"""Reading the networks of a converted checkpoint."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from safetensors import SafetensorError, safe_open

from bark_jax.checkpoint.layout import CheckpointError
from bark_jax.config import BarkConfig
from bark_jax.models.parameters import ParameterError, Put, abstract_network, fill
from bark_jax.sharding import put_parameter


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
