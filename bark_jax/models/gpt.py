"""The causal GPT of the semantic and coarse stages.

Axes: B batch, T query length, S cache length, H heads, C width, V vocabulary.

Three forward passes over the same parameters: `hidden` (a whole sequence: training, scoring, parity), `prefill` (a
prompt into a cache) and `step` (one token per row). All rows of a batch share their cache slots: a row whose prompt is
shorter is padded on the left, and `start` [B] says where it begins, so positions are `slot − start`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bark_jax.config import GPTConfig
from bark_jax.models import attention
from bark_jax.models.attention import KVCache, LayerCache
from bark_jax.models.initialisers import draw_transformer
from bark_jax.models.layers import Block, LayerNorm, Linear, normalise, project, repeat_rows, rows_of
from bark_jax.models.quantised import scales_for, vector_dtype
from bark_jax.policy import PLAIN, Policy


class GPT(nnx.Module):
    """Causal transformer with learned absolute positions and an untied head."""

    def __init__(
        self, config: GPTConfig, *, rngs: nnx.Rngs | int | None = 0, param_dtype: DTypeLike = jnp.float32,
        dtype: DTypeLike = jnp.float32,
    ) -> None:  # fmt: skip
        """rngs: of the first weights (see `models.initialisers`), or a seed; None for zeros, to be filled."""
        dtypes = {"param_dtype": param_dtype, "dtype": dtype}
        self.token_embedding = nnx.Param(jnp.zeros((config.input_vocab, config.width), param_dtype))
        self.token_embedding_scales = scales_for((config.input_vocab,), param_dtype)
        positions = jnp.zeros((config.block_size, config.width), vector_dtype(param_dtype))
        self.position_embedding = nnx.Param(positions)
        self.blocks = nnx.List(
            Block(config.width, config.heads, bias=config.bias, norm_bias=config.bias, **dtypes)
            for _ in range(config.layers)
        )
        self.norm = LayerNorm(config.width, bias=config.bias, **dtypes)
        self.head = Linear(config.width, config.output_vocab, bias=False, **dtypes)
        self.config = config
        self.dtype = dtype
        draw_transformer(self, config.layers, rngs)

    def embed(self, tokens: Array, policy: Policy = PLAIN) -> Array:
        """Token ids [...] → embeddings without positions, float32 [..., C]."""
        embedded = rows_of(self.token_embedding[...], lambda table: table[tokens], policy).astype(jnp.float32)
        scales = self.token_embedding_scales
        return embedded if scales is None else embedded * scales[...][tokens][..., None]

    def __call__(self, x: Array, policy: Policy = PLAIN) -> Array:
        """Embeddings without positions [B, T, C] → float32 logits [B, T, V]."""
        return self.logits(self.hidden(x, policy), policy=policy)

    def hidden(self, x: Array, policy: Policy = PLAIN) -> Array:
        """Embeddings without positions [B, T, C] → normalised hidden states [B, T, C], for `logits`."""
        start = jnp.zeros(x.shape[0], jnp.int32)
        x = x + self._positions(jnp.arange(x.shape[1])[None])
        for block in self.blocks:
            x = block.finish(x, attention.causal(block.qkv(x, policy), self.config.heads, start, policy), policy)
        return self.norm(x)

    def attentions(self, x: Array, first: int, keys: int, policy: Policy = PLAIN) -> Array:
        """What every head of a whole sequence looks at: embeddings without positions [B, T, C] → [B, heads of all
        layers, T − first, keys] float32, the weights of the positions from `first` on at the first `keys` positions.
        """
        start = jnp.zeros(x.shape[0], jnp.int32)
        x = x + self._positions(jnp.arange(x.shape[1])[None])
        weights = []
        for block in self.blocks:
            qkv = block.qkv(x)
            weights.append(attention.causal_weights(qkv, self.config.heads, first, keys))
            x = block.finish(x, attention.causal(qkv, self.config.heads, start, policy))
        return jnp.concatenate(weights, axis=1)

    def prefill(self, x: Array, start: Array, cache_length: int, policy: Policy = PLAIN) -> KVCache:
        """Run a prompt and keep its keys and values.

        x [B, T, C]: embeddings without positions. start [B] int32: slot of each row's first token. What stands before
        it, or after the last real token, may be anything: later steps never see it. Nothing is computed for the
        logits: feed the prompt's last token to `step` instead.
        """
        slots, heads = jnp.arange(x.shape[1]), self.config.heads
        x = x + self._positions(jnp.maximum(slots - start[:, None], 0), policy)
        layers = []
        for number, block in enumerate(self.blocks, 1):
            qkv = block.qkv(x, policy)
            layers.append(attention.keys_and_values(qkv, heads, cache_length, policy))
            if number < len(self.blocks):  # nothing reads the last block's output
                x = block.finish(x, attention.causal(qkv, heads, start, policy), policy)
        return _stack(layers)

    def step(
        self, x: Array, cache: KVCache, slot: Array, start: Array, policy: Policy = PLAIN,
        *, weights: list[Array] | None = None,
    ) -> tuple[Array, KVCache]:  # fmt: skip
        """Feed one token per row.

        x [B, C]: its embedding without position. slot: int32 scalar, where it goes in the cache, at most S − 1.
        start [B] int32. Returns the normalised hidden state [B, C] (for `logits`) and the cache with the token in it.
        weights: a list that each layer's attention weights, float32 [B, H, S], are appended to.
        """
        x = repeat_rows((x + self._positions(slot - start, policy))[:, None], policy.step_rows)  # [B, 1 or more, C]
        visible = attention.visible_slots(cache, self.config.heads, slot, start, policy)
        layers = []
        for block, *layer in zip(self.blocks, cache.keys, cache.values, strict=True):
            attended, filled, seen = attention.cached(
                block.qkv(x, policy)[:, :1], self.config.heads, LayerCache(*layer), slot, visible, policy
            )
            layers.append(filled)
            if weights is not None:
                weights.append(seen)
            x = block.finish(x, repeat_rows(attended, policy.step_rows), policy)
        return normalise(self.norm, x, policy)[:, 0], _stack(layers)

    def logits(
        self, hidden: Array, first: Array | int = 0, count: int | None = None, policy: Policy = PLAIN
    ) -> Array:  # fmt: skip
        """Float32 logits of hidden states [..., C]: all [..., V], or `count` vocabulary entries from `first` on."""

        def rows(of: Array) -> Array:
            if count is None:
                return of
            return rows_of(of, lambda table: jax.lax.dynamic_slice_in_dim(table, first, count), policy)

        scales = self.head.weight_scales
        return project(
            hidden, rows(self.head.weight[...]), self.dtype, None if scales is None else rows(scales[...]), policy
        )

    def empty_cache(self, batch: int, length: int, policy: Policy = PLAIN) -> KVCache:
        """A cache of zeros for `batch` rows of `length` slots."""
        rules = self.config
        return attention.empty_cache(
            rules.layers, batch, rules.heads, length, rules.width // rules.heads, self.dtype, policy
        )

    def _positions(self, positions: Array, policy: Policy = PLAIN) -> Array:
        return rows_of(self.position_embedding[...], lambda table: table[positions], policy).astype(jnp.float32)


def _stack(layers: list[LayerCache]) -> KVCache:
    return KVCache(tuple(layer.keys for layer in layers), tuple(layer.values for layer in layers))
