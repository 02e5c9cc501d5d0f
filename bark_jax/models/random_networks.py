"""Random weights for all four networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.models.parameters import Put, abstract_network, fill, parameters
from bark_jax.models.quantised import SCALES, held_as
from bark_jax.sharding import put_parameter


def random_networks(
    config: BarkConfig,
    key: Array,
    *,
    param_dtype: DTypeLike = jnp.float32,
    dtype: DTypeLike = jnp.float32,
    put: Put = put_parameter,
) -> dict[str, nnx.Module]:
    """All four networks with random weights from a typed key: the same numbers, rounded, for all dtypes.

    put: where each parameter goes, by default to the default device.
    """
    dtypes: dict[str, DTypeLike] = {"param_dtype": param_dtype, "dtype": dtype}
    return {name: random_network(config, name, key, put=put, **dtypes) for name in NETWORKS}


def random_network(
    config: BarkConfig,
    name: str,
    key: Array,
    *,
    param_dtype: DTypeLike = jnp.float32,
    dtype: DTypeLike = jnp.float32,
    put: Put = put_parameter,
) -> nnx.Module:
    """The network `name` of `random_networks`."""
    # NumPy draws three times faster than threefry on a CPU, and compiles nothing for each of the codec's shapes.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.fold_in(key, NETWORKS.index(name)))))
    abstract = abstract_network(config, name, param_dtype=param_dtype, dtype=dtype)
    leaves = parameters(abstract)
    drawn = (
        (path, _random_tensor(rng, name, path, leaf)) for path, leaf in leaves.items() if not path.endswith(SCALES)
    )
    held = (pair for path, tensor in drawn for pair in held_as(path, tensor, leaves[path].dtype))
    return fill(abstract, {path: put(path, value) for path, value in held})


def _random_tensor(rng: np.random.Generator, network: str, path: str, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    """Zero biases, norms of scale 1, GPT-2's deviation of 0.02; a codec whose noise is loud and does not clip."""
    kind = path.rpartition(".")[2]
    if kind in ("bias", "scale"):
        return np.full(leaf.shape, kind == "scale", leaf.dtype)
    fan_in = math.prod(leaf.shape[:-1]) if kind == "kernel" else leaf.shape[-1]
    values = rng.standard_normal(leaf.shape, np.float32)
    values *= 0.85 * fan_in**-0.5 if network == "codec" else 0.02
    return values if leaf.dtype == np.int8 else values.astype(leaf.dtype, copy=False)
