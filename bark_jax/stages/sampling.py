"""Logits → token, by Suno's rules and in their order: top-p, top-k, temperature, softmax, draw.

Axes: B batch, V vocabulary.

Nothing is sorted: thresholds are found bit by bit, in 32 passes over the floats for any vocabulary or fewer of several
bits each, and exactly, so ties are treated as Suno's code treats them: all kept by top-k; taken from the highest index
down by top-p.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.policy import PLAIN, Policy
from bark_jax.settings import Settings
from bark_jax.stages.noise import gumbel


class Sampling(NamedTuple):
    """How each row of a batch is sampled. An absent filter costs nothing: programs are compiled with or without."""

    temperature: Array  # [B] float32; 0 takes the most probable token, the first among equals
    top_k: Array | None  # [B] int32
    top_p: Array | None  # [B] float32

    @classmethod
    def of(cls, settings: Sequence[Settings], stage: str) -> Self:
        """The rules of one stage ("semantic", "coarse" or "fine"), one row per item of a batch."""

        def column(name: str) -> list[Any]:
            return [getattr(s, f"{stage}_{name}", None) for s in settings]  # the fine stage has no filters

        return cls(
            temperature=jnp.asarray(np.array(column("temperature"), np.float32)),
            top_k=_optional(column("top_k"), np.iinfo(np.int32).max, np.int32),
            top_p=_optional(column("top_p"), 1.0, np.float32),
        )


def _optional(values: Sequence[float | None], disabled: float, dtype: type[np.generic]) -> Array | None:
    if all(value is None for value in values):
        return None
    return jnp.asarray(np.array([disabled if v is None else min(v, disabled) for v in values], dtype))


def filter_logits(logits: Array, sampling: Sampling, policy: Policy = PLAIN) -> Array:
    """Float32 logits [B, V] → the logits actually drawn from, −inf where a token is excluded."""
    if sampling.top_p is not None:
        logits = jnp.where(_nucleus(logits, sampling.top_p, policy), logits, -jnp.inf)
    if sampling.top_k is not None:
        logits = jnp.where(_top_k(logits, sampling.top_k, policy), logits, -jnp.inf)
    temperature = sampling.temperature[:, None]
    below_best = logits - logits.max(axis=1, keepdims=True)  # ≤ 0: however small the temperature, no overflow to +∞
    tempered = below_best / jnp.where(temperature > 0, temperature, 1)
    best = jnp.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None]
    return jnp.where((temperature > 0) | best, tempered, -jnp.inf)


def probabilities(logits: Array, sampling: Sampling) -> Array:
    """The distribution [B, V] that `draw` follows."""
    return jax.nn.softmax(filter_logits(logits, sampling), axis=1)


def draw(keys: Array, filtered: Array) -> Array:
    """One token per row, int32 [B], from filtered logits [B, V], each row with its own typed key (keys [B])."""
    noise = jax.vmap(lambda key: gumbel(key, filtered.shape[1]))(keys)
    return (filtered + noise).argmax(axis=1).astype(jnp.int32)


def sample(keys: Array, logits: Array, sampling: Sampling) -> Array:
    """`filter_logits`, then `draw`."""
    return draw(keys, filter_logits(logits, sampling))


def _nucleus(logits: Array, top_p: Array, policy: Policy) -> Array:
    """The smallest set of the most probable tokens whose probability exceeds top_p. bool [B, V]"""
    mass = jax.nn.softmax(logits, axis=1)
    order = _sortable(logits)
    p = top_p[:, None]
    edge = _highest(order, lambda above: jnp.where(above, mass[:, None], 0).sum(2) > p, policy)
    inside, tied = order > edge, order == edge
    rank = jnp.cumsum(tied[:, ::-1], axis=1, dtype=jnp.float32)[:, ::-1] - 1  # equals with a higher index go first
    reached = jnp.where(inside, mass, 0).sum(1, keepdims=True) + rank * mass
    return (p >= 1) | inside | (tied & (reached <= p))


def _top_k(logits: Array, top_k: Array, policy: Policy) -> Array:
    """All tokens as probable as the k-th, or more. bool [B, V]"""
    order = _sortable(logits)
    return order >= _highest(order, lambda above: above.sum(2) >= top_k[:, None], policy)


def _sortable(x: Array) -> Array:
    """Float32 → uint32 in the same order, equal floats to equal integers."""
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)  # −0 and 0 are equal
    return jnp.where(bits >> 31 == 1, ~bits, bits | jnp.uint32(1 << 31))


def _highest(order: Array, satisfies: Callable[[Array], Array], policy: Policy) -> Array:
    """The highest threshold t [B, 1] such that the tokens with order ≥ t satisfy a monotone condition, else 0.

    satisfies: of which tokens are above each of N candidates, bool [B, N, V] → bool [B, N].
    """
    bits = policy.threshold_bits
    digits = jnp.arange(1, 2**bits, dtype=jnp.uint32)

    def set_digit(i: Array, threshold: Array) -> Array:
        place = jnp.uint32(32 - bits) - jnp.uint32(bits) * jnp.asarray(i).astype(jnp.uint32)
        candidates = threshold | (digits << place)  # [B, N]
        met = satisfies(order[:, None] >= candidates[..., None])
        return threshold | (met.sum(1, keepdims=True, dtype=jnp.uint32) << place)

    start = jnp.zeros((order.shape[0], 1), jnp.uint32)
    return jax.lax.fori_loop(0, 32 // bits, set_digit, start, unroll=bits > 1)
