"""Random numbers of the stages: of a seed the same bits, whichever generator or layout JAX is set to use.

Every key is a Threefry-2x32 key, and number i that is drawn with it is the hash of (0, i) alone. So neither the shape
of a batch nor JAX_DEFAULT_PRNG_IMPL, JAX_THREEFRY_PARTITIONABLE, JAX_RANDOM_SEED_OFFSET or the like change it. These
are the bits of `jax.random` with its default settings.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.random import threefry_2x32

IMPLEMENTATION = "threefry2x32"


def seed_key(seed: int) -> Array:
    """The typed key of a seed, 0 … 2³² − 1."""
    return seed_keys([seed])[0]


def seed_keys(seeds: Sequence[int]) -> Array:
    """One typed key for each seed, [B]."""
    words = np.array(seeds, np.uint32)
    data = np.stack([np.zeros_like(words), words], axis=1)  # by hand: `jax.random.key` adds JAX_RANDOM_SEED_OFFSET
    return jax.random.wrap_key_data(jnp.asarray(data), impl=IMPLEMENTATION)


def fold_keys(keys: Array, number: Array | int) -> Array:
    """`jax.random.fold_in` for every row's key."""
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def split_key(key: Array, count: int) -> Array:
    """A key → as many others, [count]."""
    return jax.random.wrap_key_data(jnp.stack(_hash(key, count), axis=1), impl=IMPLEMENTATION)


def gumbel(key: Array, count: int) -> Array:
    """Standard Gumbel noise, float32 [count], of a resolution of 2⁻²³ (no number exceeds 16)."""
    high, low = _hash(key, count)
    mantissa = ((high ^ low) >> 9) | jnp.uint32(0x3F800000)
    uniform = jax.lax.bitcast_convert_type(mantissa, jnp.float32) - 1  # [0, 1)
    least = np.finfo(np.float32).tiny
    return -jnp.log(-jnp.log(jnp.maximum(least, uniform + least)))


def _hash(key: Array, count: int) -> tuple[Array, Array]:
    """The two words of each hash, uint32 [count] each. Raises TypeError for a key of another kind."""
    if str(jax.random.key_impl(key)) != IMPLEMENTATION:
        kind = jax.random.key_impl(key)
        raise TypeError(f"a key must be of {IMPLEMENTATION}, not {kind}: jax.random.key(seed, impl={IMPLEMENTATION!r})")
    first, second = jax.random.key_data(key)
    numbers = jnp.concatenate([jnp.zeros(count, jnp.uint32), jnp.arange(count, dtype=jnp.uint32)])
    high, low = jnp.split(threefry_2x32((first, second), numbers), 2)
    return high, low
