"""The causal GPT of the semantic and coarse stages.

Axes: B batch, T query length, S cache length, H heads, D head dim, C width, V vocabulary.

Three forward passes over the same parameters: `__call__` (all logits of a sequence: training, parity), `prefill` (a
prompt into a cache) and `step` (one token per row). All rows of a batch share their cache slots: a row whose prompt is
shorter is padded on the left, and `start` [B] says where it begins, so positions are `slot − start`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bark_jax.config import GPTConfig
from bark_jax.models.layers import Block, LayerNorm, Linear, attend, attend_causal, project


class KVCache(NamedTuple):
    """Keys and values, one buffer [B·H, S, D] per layer.

    Heads are folded into the batch axis because XLA's CPU backend copies the whole buffer in every step when they are
    not (measured: 35–53 against 17–23 ms a step, 12 layers of width 768).
    """

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


class GPT(nnx.Module):
    """Causal transformer with learned absolute positions and an untied head."""

    def __init__(
        self, config: GPTConfig, *, param_dtype: DTypeLike = jnp.float32, dtype: DTypeLike = jnp.float32
    ) -> None:
        dtypes = {"param_dtype": param_dtype, "dtype": dtype}
        self.token_embedding = nnx.Param(jnp.zeros((config.input_vocab, config.width), param_dtype))
        self.position_embedding = nnx.Param(jnp.zeros((config.block_size, config.width), param_dtype))
        self.blocks = nnx.List(
            Block(config.width, config.heads, bias=config.bias, norm_bias=config.bias, **dtypes)
            for _ in range(config.layers)
        )
        self.norm = LayerNorm(config.width, bias=config.bias, **dtypes)
        self.head = Linear(config.width, config.output_vocab, bias=False, **dtypes)
        self.config = config
        self.dtype = dtype

    def embed(self, tokens: Array) -> Array:
        """Token ids [...] → embeddings without positions, float32 [..., C]."""
        return self.token_embedding[...][tokens].astype(jnp.float32)

    def __call__(self, x: Array) -> Array:
        """Embeddings without positions [B, T, C] → float32 logits [B, T, V]."""
        start = jnp.zeros(x.shape[0], jnp.int32)
        x = x + self._positions(jnp.arange(x.shape[1])[None])
        for block in self.blocks:
            x = block.finish(x, attend_causal(*block.qkv(x), self._per_head(start)))
        return self.logits(self.norm(x))

    def prefill(self, x: Array, start: Array, cache_length: int) -> KVCache:
        """Run a prompt and keep its keys and values.

        x [B, T, C]: embeddings without positions. start [B] int32: slot of each row's first token. What stands before
        it, or after the last real token, may be anything: later steps never see it. Nothing is computed for the
        logits: feed the prompt's last token to `step` instead.
        """
        slots = jnp.arange(x.shape[1])
        x = x + self._positions(jnp.maximum(slots - start[:, None], 0))
        keys, values = [], []
        for layer, block in enumerate(self.blocks):
            q, k, v = block.qkv(x)
            keys.append(_lengthen(k, cache_length))
            values.append(_lengthen(v, cache_length))
            if layer + 1 < len(self.blocks):  # nothing reads the last block's output
                x = block.finish(x, attend_causal(q, k, v, self._per_head(start)))
        return KVCache(tuple(keys), tuple(values))

    def step(self, x: Array, cache: KVCache, slot: Array, start: Array) -> tuple[Array, KVCache]:
        """Feed one token per row.

        x [B, C]: its embedding without position. slot: int32 scalar, where it goes in the cache, at most S − 1.
        start [B] int32. Returns the normalised hidden state [B, C] (for `logits`) and the cache with the token in it.
        """
        x = (x + self._positions(slot - start))[:, None]  # [B, 1, C]
        slots = jnp.arange(cache.keys[0].shape[1])
        visible = ((slots <= slot) & (slots >= self._per_head(start)[:, None]))[:, None]  # [B·H, 1, S]
        keys, values = [], []
        for block, k_cache, v_cache in zip(self.blocks, cache.keys, cache.values, strict=True):
            q, k, v = block.qkv(x)
            keys.append(_write(k_cache, k, slot))
            values.append(_write(v_cache, v, slot))
            x = block.finish(x, attend(q, keys[-1], values[-1], visible))
        return self.norm(x)[:, 0], KVCache(tuple(keys), tuple(values))

    def logits(self, hidden: Array, first: Array | int = 0, count: int | None = None) -> Array:
        """Float32 logits of hidden states [B, C]: all [B, V], or `count` vocabulary entries from `first` on."""
        rows = self.head.weight[...]
        if count is not None:
            rows = jax.lax.dynamic_slice_in_dim(rows, first, count)
        return project(hidden, rows, self.dtype)

    def empty_cache(self, batch: int, length: int) -> KVCache:
        """A cache of zeros for `batch` rows of `length` slots."""
        shape = (batch * self.config.heads, length, self.config.width // self.config.heads)
        return KVCache(*(tuple(jnp.zeros(shape, self.dtype) for _ in self.blocks) for _ in range(2)))

    def _positions(self, positions: Array) -> Array:
        return self.position_embedding[...][positions].astype(jnp.float32)

    def _per_head(self, start: Array) -> Array:
        return jnp.repeat(start, self.config.heads)  # [B·H]


def _lengthen(x: Array, length: int) -> Array:
    return jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0)))


def _write(buffer: Array, new: Array, slot: Array) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(buffer, new, slot, axis=1)
