"""HuBERT base: a waveform of 16 kHz → features of what is said, 50 a second (Hsu et al. 2021, as transformers has it).

Axes: B batch, N samples, T features, C channels, k taps of a kernel, G groups.

Seven convolutions, of which only the first is normalised: each channel over all of time (a group norm with as many
groups as channels). Its statistics follow from the second moments of the samples under its taps (`Moments`), so that a
recording may be heard in windows with the statistics of the whole. Then come positions by a grouped convolution, and
post-norm blocks, of which only those run that the features come from. Float32 throughout.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from bark_jax.models import attention
from bark_jax.models.convolution import convolve
from bark_jax.models.layers import NORM_EPSILON, LayerNorm, Linear, gelu

SAMPLE_RATE = 16_000  # Hz
_FLOAT32 = {"param_dtype": jnp.float32, "dtype": jnp.float32}


@dataclass(frozen=True, kw_only=True)
class HubertConfig:
    """Sizes; the defaults are those of facebook/hubert-base-ls960."""

    kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    channels: int = 512  # of every convolution
    width: int = 768
    layers: int = 12
    heads: int = 12
    hidden: int = 3072  # within a block's MLP
    position_kernel: int = 128
    position_groups: int = 16

    @property
    def hop(self) -> int:
        """Samples from one feature to the next: 320."""
        return math.prod(self.strides)

    @property
    def reach(self) -> int:
        """Samples under one feature: 400."""
        reach = 1
        for kernel, stride in zip(reversed(self.kernels), reversed(self.strides), strict=True):
            reach = (reach - 1) * stride + kernel
        return reach

    def count(self, samples: int) -> int:
        """Features of a number of samples."""
        return max(0, (samples - self.reach) // self.hop + 1)


class Moments(NamedTuple):
    """What stands under the taps of the first kernel, over a whole recording."""

    mean: Array  # [B, k]
    covariance: Array  # [B, k, k]


class FirstConv(nnx.Module):
    """The first convolution with its norm over time, which takes the statistics of the whole recording."""

    def __init__(self, config: HubertConfig) -> None:
        self.kernel = nnx.Param(jnp.zeros((config.kernels[0], 1, config.channels), jnp.float32))
        self.scale = nnx.Param(jnp.ones(config.channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(config.channels, jnp.float32))
        self.stride = config.strides[0]

    def __call__(self, x: Array, moments: Moments) -> Array:
        """Samples [B, N, 1] → [B, T, C]."""
        taps, exact = self.kernel[:, 0], jax.lax.Precision.HIGHEST  # [k, C]
        mean = jnp.einsum("bk,kc->bc", moments.mean, taps, precision=exact)
        variance = jnp.einsum("kc,bkl,lc->bc", taps, moments.covariance, taps, precision=exact)
        scale = self.scale[...] * jax.lax.rsqrt(jnp.maximum(variance, 0) + NORM_EPSILON)
        y = convolve(x, self.kernel[...], self.stride) - mean[:, None]
        return y * scale[:, None] + self.bias[...]


class PositionConv(nnx.Module):
    """Positions: a grouped convolution, as long on both sides; kernel [k, C / G, C]."""

    def __init__(self, config: HubertConfig) -> None:
        shape = (config.position_kernel, config.width // config.position_groups, config.width)
        self.kernel = nnx.Param(jnp.zeros(shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(config.width, jnp.float32))
        self.groups = config.position_groups

    def __call__(self, x: Array) -> Array:
        """[B, T, C] → [B, T, C]."""
        left = self.kernel.shape[0] // 2
        padding = (left, self.kernel.shape[0] - 1 - left)
        y = jax.lax.conv_general_dilated(
            x, self.kernel[...], (1,), (padding,), dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=self.groups, precision=jax.lax.Precision.HIGHEST,
        )  # fmt: skip
        return gelu(y + self.bias[...])


class HubertBlock(nnx.Module):
    """A post-norm transformer block."""

    def __init__(self, config: HubertConfig) -> None:
        width = config.width
        self.qkv_projection = Linear(width, 3 * width, bias=True, **_FLOAT32)
        self.attention_out = Linear(width, width, bias=True, **_FLOAT32)
        self.attention_norm = LayerNorm(width, bias=True, **_FLOAT32)
        self.mlp_in = Linear(width, config.hidden, bias=True, **_FLOAT32)
        self.mlp_out = Linear(config.hidden, width, bias=True, **_FLOAT32)
        self.mlp_norm = LayerNorm(width, bias=True, **_FLOAT32)
        self.heads = config.heads

    def __call__(self, x: Array, present: Array) -> Array:
        """[B, T, C] → [B, T, C]; present, bool [B, T]: what may be attended to."""
        attended = attention.window(self.qkv_projection(x), self.heads, present=present)
        x = self.attention_norm(x + self.attention_out(attended))
        return self.mlp_norm(x + self.mlp_out(gelu(self.mlp_in(x))))


class Hubert(nnx.Module):
    """The network without the parts that only training needs."""

    def __init__(self, config: HubertConfig) -> None:
        """Weights are zeros, to be filled."""
        self.first_conv = FirstConv(config)
        self.kernels = nnx.List(
            nnx.Param(jnp.zeros((kernel, config.channels, config.channels), jnp.float32))
            for kernel in config.kernels[1:]
        )
        self.projection_norm = LayerNorm(config.channels, bias=True, **_FLOAT32)
        self.projection = Linear(config.channels, config.width, bias=True, **_FLOAT32)
        self.positions = PositionConv(config)
        self.norm = LayerNorm(config.width, bias=True, **_FLOAT32)
        self.blocks = nnx.List(HubertBlock(config) for _ in range(config.layers))
        self.config = config

    def __call__(self, waveform: Array, moments: Moments, lengths: Array, layer: int) -> Array:
        """Features after `layer` blocks (static), float32 [B, T, C].

        waveform [B, N] float32 at 16 kHz, padded on the right with anything; moments: of each whole recording, without
        the padding; lengths [B] int32: features of each row that count, and the only ones that are seen.
        """
        x = gelu(self.first_conv(waveform[..., None], moments))
        for kernel, stride in zip(self.kernels, self.config.strides[1:], strict=True):
            x = gelu(convolve(x, kernel[...], stride))
        x = self.projection(self.projection_norm(x))
        present = jnp.arange(x.shape[1]) < lengths[:, None]  # [B, T]
        x = jnp.where(present[..., None], x, 0)
        x = self.norm(x + self.positions(x))
        for block in self.blocks[:layer]:
            x = block(x, present)
        return x
