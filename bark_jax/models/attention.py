"""Attention of the transformers, and the layout of the key–value cache: the one place where either is chosen.

Axes: B batch, T query length, S cache length, H heads, D head dim, C width.

The blocks hand over one array of queries, keys and values, `qkv` [B, T, 3·C], and get back what was attended,
[B, T, C]: how heads are laid out between the two is decided here, by the policy of the device. The functions below are
the plain definition, with the layout that was fastest on CPUs.

Heads are folded into the batch axis, [B·H, T, D], because XLA's CPU backend copies the whole buffer in every step when
they are not (measured: 35–53 against 17–23 ms a step, 12 layers of width 768).

Where the policy says `flat_cache`, keys and values stay as they are projected, [B, S, C]. A TPU keeps arrays in tiles
of 128 lanes, so that buffers of D = 64 take twice their memory, and one query of a head leaves its matrix unit empty.
With each head's query in a row of its own, zero outside the head, one product serves all heads.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.layout import Layout, with_layout_constraint
from jax.typing import DTypeLike

from bark_jax import kernels
from bark_jax.policy import PLAIN, Policy

_MASKED = -1e30  # finite, so that a padded query with no visible key stays free of NaN


class KVCache(NamedTuple):
    """Keys and values, one buffer [B·H, S, D] per layer; [B, S, C] where the policy says `flat_cache`."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


class LayerCache(NamedTuple):
    """Keys and values of one layer."""

    keys: Array
    values: Array


def precision(dtype: DTypeLike) -> jax.lax.Precision | None:
    """Full products for float32, which accelerators otherwise round to fewer bits."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def causal(qkv: Array, heads: int, start: Array, policy: Policy = PLAIN) -> Array:
    """Causal self-attention of a prompt: [B, T, 3·C] → [B, T, C].

    start [B] int32: the first position that holds a token, all before it is padding.
    """
    return _join(attend_causal(*_split(qkv, heads), jnp.repeat(start, heads), policy.query_chunk), heads)


def window(qkv: Array, heads: int, policy: Policy = PLAIN, *, present: Array | None = None) -> Array:
    """Full (non-causal) self-attention: [B, T, 3·C] → [B, T, C].

    present, bool [B, T]: the positions that are seen, by default all.
    """
    visible = None if present is None else jnp.repeat(present, heads, axis=0)[:, None]
    return _join(attend_window(*_split(qkv, heads), policy.query_chunk, visible), heads)


def cached(
    qkv: Array, heads: int, cache: LayerCache, slot: Array, visible: Array, policy: Policy = PLAIN
) -> tuple[Array, LayerCache, Array]:
    """One token per row, [B, 1, 3·C], over a layer's cache.

    slot: int32 scalar, where its key and value go. visible: of `visible_slots`. Returns what was attended [B, 1, C],
    the cache with the token in it, and the weights [B, H, S], float32, which cost nothing where they are not used.
    """
    q, k, v = _parts(qkv, heads, policy)
    cache = LayerCache(_write(cache.keys, k, slot), _write(cache.values, v, slot))
    if policy.flat_cache:
        # Else XLA would choose another order of axes for the loop, and copy the cache before and after it.
        cache = with_layout_constraint(cache, Layout((0, 1, 2)))
        own = _own_head(q, heads)  # [H, C]
        attended, weights = _attend(jnp.where(own, q, 0), *cache, visible, scale=(q.shape[2] // heads) ** -0.5)
        return jnp.where(own, attended, 0).sum(1, keepdims=True), cache, weights
    attended, weights = _attend(q, *cache, visible)
    if policy.kernels and q.dtype == jnp.float32:  # the same; what is not used above is not computed
        attended = kernels.attend(q[:, 0], *cache, visible[:, 0])[:, None]
    return _join(attended, heads), cache, weights.reshape(-1, heads, weights.shape[-1])


def causal_weights(qkv: Array, heads: int, first: int, keys: int) -> Array:
    """How much the positions of a sequence from `first` on look at its first `keys` positions, when each sees itself
    and all before it: [B, T, 3·C] → float32 [B, H, T − first, keys].
    """
    q, k, v = _split(qkv, heads)
    visible = jnp.arange(k.shape[1]) <= jnp.arange(first, k.shape[1])[:, None]
    _, weights = _attend(q[:, first:], k, v, visible)
    return weights[..., :keys].reshape(-1, heads, k.shape[1] - first, keys)


def keys_and_values(qkv: Array, heads: int, length: int, policy: Policy = PLAIN) -> LayerCache:
    """The keys and values of a prompt, [B, T, 3·C], as the beginning of a layer's cache of that length."""
    _, k, v = _parts(qkv, heads, policy)
    return LayerCache(_lengthen(k, length), _lengthen(v, length))


def empty_cache(
    layers: int, batch: int, heads: int, length: int, head_dim: int, dtype: DTypeLike, policy: Policy = PLAIN
) -> KVCache:
    """A cache of zeros for `batch` rows of `length` slots."""
    shape = (batch, length, heads * head_dim) if policy.flat_cache else (batch * heads, length, head_dim)
    return KVCache(*(tuple(jnp.zeros(shape, dtype) for _ in range(layers)) for _ in range(2)))


def visible_slots(cache: KVCache, heads: int, slot: Array, start: Array, policy: Policy = PLAIN) -> Array:
    """Which slots a token in `slot` sees, from each row's `start` [B] on: bool [B·H or B, 1, S], as the cache is."""
    slots, start = jnp.arange(cache.keys[0].shape[1]), start if policy.flat_cache else jnp.repeat(start, heads)
    return ((slots <= slot) & (slots >= start[:, None]))[:, None]


def attend(q: Array, k: Array, v: Array, visible: Array | None = None) -> Array:
    """Scaled dot-product attention, scores and softmax in float32.

    q [B·H, T, D]; k, v [B·H, S, D]; visible, bool, broadcastable to [B·H, T, S] → [B·H, T, D] in q's dtype.
    """
    return _attend(q, k, v, visible)[0]


def attend_causal(q: Array, k: Array, v: Array, start: Array, chunk: int = PLAIN.query_chunk) -> Array:
    """Causal self-attention of a prompt in chunks of queries, each over its own prefix.

    q, k, v [B·H, T, D]; start [B·H] int32: the first position that holds a token, all before it is padding.
    """
    chunks = []
    for first in range(0, q.shape[1], chunk):
        last = min(first + chunk, q.shape[1])
        keys = jnp.arange(last)
        visible = (keys <= jnp.arange(first, last)[:, None]) & (keys >= start[:, None, None])
        chunks.append(attend(q[:, first:last], k[:, :last], v[:, :last], visible))
    return jnp.concatenate(chunks, axis=1)


def attend_window(q: Array, k: Array, v: Array, chunk: int = PLAIN.query_chunk, visible: Array | None = None) -> Array:
    """Full (non-causal) self-attention in chunks of queries. q, k, v [B·H, T, D] → [B·H, T, D].

    visible, bool [B·H, 1, T]: by default all.
    """
    chunks = [attend(q[:, i : i + chunk], k, v, visible) for i in range(0, q.shape[1], chunk)]
    return jnp.concatenate(chunks, axis=1)


def _attend(q: Array, k: Array, v: Array, visible: Array | None, scale: float | None = None) -> tuple[Array, Array]:
    """`attend`, and the float32 weights [B·H, T, S]. scale: of the scores, where the head dim is not q's last."""
    exact = precision(q.dtype)
    q = q * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = jnp.einsum("btd,bsd->bts", q, k, precision=exact, preferred_element_type=jnp.float32)
    if visible is not None:
        scores = jnp.where(visible, scores, _MASKED)
    # The maximum cancels: without its gradient, that of the rest is the same and takes less time.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    attended = jnp.einsum(
        "bts,bsd->btd", weights.astype(q.dtype), v, precision=exact, preferred_element_type=jnp.float32
    )
    # Dividing what was attended, not the weights, saves a pass over the largest array.
    total = weights.sum(axis=-1, keepdims=True)
    return (attended / total).astype(q.dtype), weights / total


def _parts(qkv: Array, heads: int, policy: Policy) -> tuple[Array, Array, Array]:
    """[B, T, 3·C] → queries, keys and values as they lie in the cache, [B·H, T, D] or [B, T, C] each."""
    if policy.flat_cache:
        q, k, v = jnp.split(qkv, 3, axis=2)
        return q, k, v
    return _split(qkv, heads)


def _own_head(q: Array, heads: int) -> Array:
    """Which channels of q [B, T, C] belong to each head: bool [H, C]."""
    return jnp.arange(q.shape[2]) // (q.shape[2] // heads) == jnp.arange(heads)[:, None]


def _split(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
    """[B, T, 3·C] → queries, keys and values, each [B·H, T, D]."""
    batch, length, width = qkv.shape
    qkv = qkv.reshape(batch, length, 3, heads, width // (3 * heads))  # [B, T, 3, H, D]
    qkv = qkv.transpose(2, 0, 3, 1, 4).reshape(3, batch * heads, length, -1)  # [3, B·H, T, D]
    return qkv[0], qkv[1], qkv[2]


def _join(attended: Array, heads: int) -> Array:
    """[B·H, T, D] → [B, T, C]."""
    rows, length, head_dim = attended.shape
    attended = attended.reshape(rows // heads, heads, length, head_dim).transpose(0, 2, 1, 3)  # [B, T, H, D]
    return attended.reshape(rows // heads, length, heads * head_dim)


def _lengthen(x: Array, length: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0)))


def _write(buffer: Array, new: Array, slot: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(buffer, new, slot, axis=1)
