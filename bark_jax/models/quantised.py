"""Weights in int8: a matrix of integers, and a float32 scale for each of its rows.

A parameter `weight` [..., O, I] of that kind has another beside it, `weight_scales` [..., O]; what it stands for is
their product. Vectors (biases, norms) and positions stay float32, which they are held in beside int8.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

SCALES = "_scales"  # appended to the name of the parameter
_LARGEST = 127  # so that every weight has its negative
_ROWS = 4096  # quantised at once


def vector_dtype(param_dtype: DTypeLike) -> DTypeLike:
    """What vectors and positions are held in beside matrices of that dtype."""
    return jnp.float32 if jnp.dtype(param_dtype) == jnp.int8 else param_dtype


def scales_for(rows: tuple[int, ...], param_dtype: DTypeLike) -> nnx.Param[Array] | None:
    """The parameter of scales of a matrix with these rows, if its dtype needs one."""
    return nnx.Param(jnp.ones(rows, jnp.float32)) if jnp.dtype(param_dtype) == jnp.int8 else None


def quantise(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[..., O, I] → int8 of the same shape and float32 scales [..., O], each a 127th of its row's largest weight.

    Raises ValueError unless all weights are finite.
    """
    flat = matrix.reshape(-1, matrix.shape[-1])
    values, scales = np.empty(flat.shape, np.int8), np.empty(len(flat), np.float32)
    for first in range(0, len(flat), _ROWS):
        rows = flat[first : first + _ROWS].astype(np.float32)
        largest = np.abs(rows).max(axis=1, initial=0)
        if not np.isfinite(largest).all():
            raise ValueError("weights that are not finite have no int8 form")
        # Rows of zeros, and those too small for a normal scale, are zeros.
        scale = np.where(largest < _LARGEST * np.finfo(np.float32).tiny, 1, largest / _LARGEST).astype(np.float32)
        values[first : first + _ROWS] = np.clip(np.rint(rows / scale[:, None]), -_LARGEST, _LARGEST)
        scales[first : first + _ROWS] = scale
    return values.reshape(matrix.shape), scales.reshape(matrix.shape[:-1])


def held_as(path: str, tensor: np.ndarray, dtype: DTypeLike | None) -> Iterator[tuple[str, np.ndarray]]:
    """A parameter, by its dotted path, in the dtype it is held in (None: its own), with scales where that is int8."""
    if dtype is not None and jnp.dtype(dtype) == np.int8 and tensor.dtype != np.int8:
        values, scales = quantise(tensor)
        yield from ((path, values), (path + SCALES, scales))
    else:
        yield path, np.asarray(tensor, dtype)


def dequantise(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """What `quantise` made → float32. Raises ValueError when the shapes do not belong together."""
    if values.shape[:-1] != scales.shape:
        raise ValueError(f"scales {scales.shape} do not fit {values.shape}")
    return values * np.asarray(scales, np.float32)[..., None]


def dequantised(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by dotted path, those in int8 as the float32 that they stand for."""
    return {
        path: dequantise(np.asarray(value), np.asarray(parameters[path + SCALES]))
        if path + SCALES in parameters
        else value
        for path, value in parameters.items()
        if not path.endswith(SCALES)
    }
