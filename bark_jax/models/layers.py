"""Building blocks of the three transformers: pre-norm GPT-2 blocks.

Axes: B batch, T query length, S cache length, H heads, D head dim, C width, I/O input/output features.

A module holds parameters in one dtype and computes in another (`dtype`); layer-norm statistics, attention scores and
softmax are float32 whatever the compute dtype, and so is the residual stream between the blocks, as under PyTorch's
autocast. Modules are pure: nothing is mutated in a forward pass.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

NORM_EPSILON = 1e-5
_QUERY_CHUNK = 256  # queries attended at once in a prefill; a causal chunk sees only its prefix (measured on CPU)
_MASKED = -1e30  # finite, so that a padded query with no visible key stays free of NaN


def precision(dtype: DTypeLike) -> jax.lax.Precision | None:
    """Full products for float32, which accelerators otherwise round to fewer bits."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


class Linear(nnx.Module):
    """x @ weightᵀ + bias, the weight stored [O, I]: rows are contiguous for the matrix-vector products of decoding."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, param_dtype: DTypeLike, dtype: DTypeLike) -> None:
        self.weight = nnx.Param(jnp.zeros((outputs, inputs), param_dtype))
        self.bias = nnx.Param(jnp.zeros(outputs, param_dtype)) if bias else None
        self.dtype = dtype

    def __call__(self, x: Array) -> Array:
        """[…, I] → […, O] in the compute dtype."""
        y = project(x, self.weight[...], self.dtype)
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(self.dtype)


def project(x: Array, weight: Array, dtype: DTypeLike) -> Array:
    """x [..., I] times weight [O, I], multiplied in `dtype`, accumulated in float32 → float32 [..., O]."""
    return jnp.einsum(
        "...i,oi->...o", x.astype(dtype), weight.astype(dtype),
        precision=precision(dtype), preferred_element_type=jnp.float32,
    )  # fmt: skip


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis, statistics in float32, ε = 1e-5."""

    def __init__(self, width: int, *, bias: bool, param_dtype: DTypeLike, dtype: DTypeLike) -> None:
        self.scale = nnx.Param(jnp.ones(width, param_dtype))
        self.bias = nnx.Param(jnp.zeros(width, param_dtype)) if bias else None
        self.dtype = dtype

    def __call__(self, x: Array) -> Array:
        """[…, C] → […, C] in the compute dtype."""
        x = x.astype(jnp.float32)
        centred = x - x.mean(-1, keepdims=True)
        y = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + NORM_EPSILON)
        y = y * self.scale[...].astype(jnp.float32)
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(self.dtype)


class Block(nnx.Module):
    """One pre-norm transformer block, cut where attention happens: `qkv` before it, `finish` after it.

    What the queries may see (a prompt, a cache, a whole window) is the caller's business.
    """

    def __init__(
        self, width: int, heads: int, *, bias: bool, norm_bias: bool, param_dtype: DTypeLike, dtype: DTypeLike
    ) -> None:
        dtypes = {"param_dtype": param_dtype, "dtype": dtype}
        self.attention_norm = LayerNorm(width, bias=norm_bias, **dtypes)
        self.qkv_projection = Linear(width, 3 * width, bias=bias, **dtypes)
        self.attention_out = Linear(width, width, bias=bias, **dtypes)
        self.mlp_norm = LayerNorm(width, bias=norm_bias, **dtypes)
        self.mlp_in = Linear(width, 4 * width, bias=bias, **dtypes)
        self.mlp_out = Linear(4 * width, width, bias=bias, **dtypes)
        self.heads = heads

    def qkv(self, x: Array) -> tuple[Array, Array, Array]:
        """[B, T, C] → queries, keys and values, each [B·H, T, D]."""
        batch, length, width = x.shape
        qkv = self.qkv_projection(self.attention_norm(x))
        qkv = qkv.reshape(batch, length, 3, self.heads, width // self.heads)  # [B, T, 3, H, D]
        qkv = qkv.transpose(2, 0, 3, 1, 4).reshape(3, batch * self.heads, length, -1)  # [3, B·H, T, D]
        return qkv[0], qkv[1], qkv[2]

    def finish(self, x: Array, attended: Array) -> Array:
        """The block's float32 input [B, T, C] and the attention's output [B·H, T, D] → its float32 output [B, T, C]."""
        batch, length, width = x.shape
        attended = attended.reshape(batch, self.heads, length, -1).transpose(0, 2, 1, 3)  # [B, T, H, D]
        x = x + self.attention_out(attended.reshape(batch, length, width)).astype(x.dtype)
        hidden = gelu(self.mlp_in(self.mlp_norm(x)))
        return x + self.mlp_out(hidden).astype(x.dtype)


def gelu(x: Array) -> Array:
    """GELU by erf, as PyTorch computes it; `jax.nn.gelu` takes erfc, which is slower on CPU."""
    y = x.astype(jnp.float32)  # 1 + erf cancels
    return (0.5 * y * (1 + jax.lax.erf(y * 0.5**0.5))).astype(x.dtype)


def attend(q: Array, k: Array, v: Array, visible: Array | None = None) -> Array:
    """Scaled dot-product attention, scores and softmax in float32.

    q [B·H, T, D]; k, v [B·H, S, D]; visible, bool, broadcastable to [B·H, T, S] → [B·H, T, D] in q's dtype.
    """
    exact = precision(q.dtype)
    q = q * (q.shape[-1] ** -0.5)
    scores = jnp.einsum("btd,bsd->bts", q, k, precision=exact, preferred_element_type=jnp.float32)
    if visible is not None:
        scores = jnp.where(visible, scores, _MASKED)
    # The maximum cancels: without its gradient, that of the rest is the same and takes less time.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    attended = jnp.einsum(
        "bts,bsd->btd", weights.astype(q.dtype), v, precision=exact, preferred_element_type=jnp.float32
    )
    # Dividing what was attended, not the weights, saves a pass over the largest array.
    return (attended / weights.sum(axis=-1, keepdims=True)).astype(q.dtype)


def attend_causal(q: Array, k: Array, v: Array, start: Array) -> Array:
    """Causal self-attention of a prompt in chunks of queries, each over its own prefix.

    q, k, v [B·H, T, D]; start [B·H] int32: the first position that holds a token, all before it is padding.
    """
    chunks = []
    for first in range(0, q.shape[1], _QUERY_CHUNK):
        last = min(first + _QUERY_CHUNK, q.shape[1])
        keys = jnp.arange(last)
        visible = (keys <= jnp.arange(first, last)[:, None]) & (keys >= start[:, None, None])
        chunks.append(attend(q[:, first:last], k[:, :last], v[:, :last], visible))
    return jnp.concatenate(chunks, axis=1)


def attend_window(q: Array, k: Array, v: Array) -> Array:
    """Full (non-causal) self-attention in chunks of queries. q, k, v [B·H, T, D] → [B·H, T, D]."""
    chunks = [attend(q[:, i : i + _QUERY_CHUNK], k, v) for i in range(0, q.shape[1], _QUERY_CHUNK)]
    return jnp.concatenate(chunks, axis=1)
