"""Building blocks of the three transformers: pre-norm GPT-2 blocks.

Axes: B batch, T query length, C width, I/O input/output features.

A module holds parameters in one dtype and computes in another (`dtype`); layer-norm statistics, attention scores and
softmax are float32 in any compute dtype, and so is the residual stream between the blocks, as under PyTorch's
autocast. Modules are pure: nothing is mutated in a forward pass.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bark_jax import kernels
from bark_jax.models.attention import precision
from bark_jax.models.quantised import scales_for, vector_dtype
from bark_jax.policy import PLAIN, Policy

NORM_EPSILON = 1e-5


class Linear(nnx.Module):
    """x @ weightᵀ + bias, the weight stored [O, I]: rows are contiguous for the matrix-vector products of decoding."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, param_dtype: DTypeLike, dtype: DTypeLike) -> None:
        self.weight = nnx.Param(jnp.zeros((outputs, inputs), param_dtype))
        self.weight_scales = scales_for((outputs,), param_dtype)
        self.bias = nnx.Param(jnp.zeros(outputs, vector_dtype(param_dtype))) if bias else None
        self.dtype = dtype

    def __call__(self, x: Array, policy: Policy = PLAIN) -> Array:
        """[…, I] → […, O] in the compute dtype."""
        scales = None if self.weight_scales is None else self.weight_scales[...]
        y = project(x, self.weight[...], self.dtype, scales, policy)
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(self.dtype)


def project(
    x: Array, weight: Array, dtype: DTypeLike, scales: Array | None = None, policy: Policy = PLAIN
) -> Array:  # fmt: skip
    """x [..., I] times weight [O, I], multiplied in `dtype`, accumulated in float32 → float32 [..., O].

    scales [O]: of the rows of an int8 weight (`models.quantised`).
    """
    few = math.prod(x.shape[:-1]) <= kernels.ROWS
    if policy.kernels and few and dtype == jnp.float32 and weight.dtype in kernels.DTYPES:
        y = kernels.multiply(x.reshape(-1, x.shape[-1]).astype(dtype), weight, scales)
        return y.reshape(*x.shape[:-1], len(weight))
    y = jnp.einsum(
        "...i,oi->...o", x.astype(dtype), weight.astype(dtype),
        precision=precision(dtype), preferred_element_type=jnp.float32,
    )  # fmt: skip
    return y if scales is None else y * scales


def rows_of(table: Array, take: Callable[[Array], Array], policy: Policy = PLAIN) -> Array:
    """Rows that `take` picks from a table [V, C].

    XLA for CPUs would first widen all of a bfloat16 table, so its bits are picked where nothing is differentiated.
    """
    if policy.kernels and table.dtype == jnp.bfloat16:
        return jax.lax.bitcast_convert_type(take(jax.lax.bitcast_convert_type(table, jnp.uint16)), jnp.bfloat16)
    return take(table)


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis, statistics in float32, ε = 1e-5."""

    def __init__(self, width: int, *, bias: bool, param_dtype: DTypeLike, dtype: DTypeLike) -> None:
        param_dtype = vector_dtype(param_dtype)
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

    def qkv(self, x: Array, policy: Policy = PLAIN) -> Array:
        """[B, T, C] → queries, keys and values side by side, [B, T, 3·C] (see `bark_jax.models.attention`)."""
        return self.qkv_projection(normalise(self.attention_norm, x, policy), policy)

    def finish(self, x: Array, attended: Array, policy: Policy = PLAIN) -> Array:
        """The block's float32 input and the attention's output, both [B, T, C] → its float32 output [B, T, C]."""
        x = x + self.attention_out(attended, policy).astype(x.dtype)
        hidden = self.mlp_in(normalise(self.mlp_norm, x, policy), policy)
        hidden = gelu(hidden)
        if policy.norm_rows > 1:  # else it is computed again for every output of the product
            hidden = jax.lax.optimization_barrier(hidden)
        return x + self.mlp_out(hidden, policy).astype(x.dtype)


def repeat_rows(x: Array, least: int) -> Array:
    """[B, T, C] as it is, or repeated along its second axis until there are `least` rows in all.

    (Along the first axis, repetitions would leave the devices of their rows.)
    """
    times = -(-least // (x.shape[0] * x.shape[1]))
    # The barrier keeps XLA from seeing that they are equal, and from computing one of them after all.
    return jax.lax.optimization_barrier(jnp.tile(x, (1, times, 1))) if times > 1 else x


def normalise(norm: LayerNorm, x: Array, policy: Policy) -> Array:
    """A layer normalisation, [B, T, C] → [B, T, C], of as many rows as the policy wants at least."""
    return norm(repeat_rows(x, policy.norm_rows))[:, : x.shape[1]]


def gelu(x: Array) -> Array:
    """GELU by erf, as PyTorch computes it; `jax.nn.gelu` takes erfc, which is slower on CPU."""
    y = x.astype(jnp.float32)  # 1 + erf cancels
    return (0.5 * y * (1 + jax.lax.erf(y * 0.5**0.5))).astype(x.dtype)
