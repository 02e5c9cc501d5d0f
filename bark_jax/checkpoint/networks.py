"""Reading the networks of a converted checkpoint."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from safetensors import SafetensorError, safe_open

from bark_jax.checkpoint.layout import CheckpointError
from bark_jax.config import BarkConfig
from bark_jax.models.parameters import ParameterError, Put, abstract_network, fill, parameters
from bark_jax.models.quantised import SCALES, dequantise, held_as
from bark_jax.sharding import put_parameter


class Stored:
    """The tensors of an open file by name; scales of int8 matrices come with these."""

    def __init__(self, file: Any) -> None:
        self.file, self.names = file, set(file.keys())
        self.scaled = {name for name in self.names if name + SCALES in self.names}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.names - {name + SCALES for name in self.scaled}))

    def read(
        self, path: str, dtype: DTypeLike | None, matrices: Collection[str]
    ) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
        """A tensor in the dtype, with scales if that is int8 and it is one of the matrices. Raises ParameterError."""
        value = self.file.get_tensor(path)
        try:
            if path in self.scaled:
                scales = self.file.get_tensor(path + SCALES)
                if dtype == jnp.int8 and value.dtype == np.int8:
                    yield from ((path, value), (path + SCALES, np.asarray(scales, np.float32)))
                    return
                value = dequantise(value, scales)
            elif value.dtype == np.int8:
                raise ValueError("int8 without its scales")
            yield from held_as(path, value, dtype if path in matrices or dtype != jnp.int8 else jnp.float32)
        except ValueError as error:
            raise ParameterError(f"{path}: {error}") from error


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
    try:
        with safe_open(path, framework="np") as file:
            tensors = Stored(file)
            param_dtype = param_dtype and jnp.dtype(param_dtype)
            if name == "codec":
                param_dtype = jnp.float32
            elif param_dtype is None and tensors.scaled:
                param_dtype = jnp.int8
            abstract = abstract_network(config, name, param_dtype=param_dtype or jnp.float32, dtype=dtype)
            matrices = {path for path in parameters(abstract) if path + SCALES in parameters(abstract)}
            held = (pair for path in tensors for pair in tensors.read(path, param_dtype, matrices))
            return fill(abstract, {path: put(path, value) for path, value in held})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; convert or download it again") from error
    except ParameterError as error:
        raise CheckpointError(f"{path}: {error}") from error
