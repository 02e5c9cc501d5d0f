"""The non-causal transformer of the fine stage.

Axes: B batch, T window length, H heads, D head dim, C width, V vocabulary, K codebooks.
"""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from bark_jax.config import FineGPTConfig
from bark_jax.models import attention
from bark_jax.models.initialisers import draw_transformer
from bark_jax.models.layers import Block, LayerNorm, project
from bark_jax.models.quantised import scales_for, vector_dtype
from bark_jax.policy import PLAIN, Policy


class FineGPT(nnx.Module):
    """Predicts one codebook from all those before it; positions see the whole window.

    The published heads are tied to the embedding tables (the head of codebook k is table k), so one array
    [K, V, C] holds both, and the codebook may be a traced index: one program serves all of them.
    """

    def __init__(
        self, config: FineGPTConfig, *, rngs: nnx.Rngs | int | None = 0, param_dtype: DTypeLike = jnp.float32,
        dtype: DTypeLike = jnp.float32,
    ) -> None:  # fmt: skip
        """rngs: of the first weights (see `models.initialisers`), or a seed; None for zeros, to be filled."""
        dtypes = {"param_dtype": param_dtype, "dtype": dtype}
        self.code_embeddings = nnx.Param(jnp.zeros((config.codebooks, config.vocab, config.width), param_dtype))
        self.code_embeddings_scales = scales_for((config.codebooks, config.vocab), param_dtype)
        positions = jnp.zeros((config.block_size, config.width), vector_dtype(param_dtype))
        self.position_embedding = nnx.Param(positions)
        self.blocks = nnx.List(
            Block(config.width, config.heads, bias=config.bias, norm_bias=True, **dtypes) for _ in range(config.layers)
        )
        self.norm = LayerNorm(config.width, bias=True, **dtypes)
        self.config = config
        self.dtype = dtype
        draw_transformer(self, config.layers, rngs)

    def __call__(self, codes: Array, codebook: Array | int, policy: Policy = PLAIN) -> Array:
        """Codes [B, K, T] int32 and the codebook to predict, 1 … K − 1 → float32 logits [B, T, V]."""
        return self.logits(self.hidden(codes, codebook, policy), codebook)

    def hidden(self, codes: Array, codebook: Array | int, policy: Policy = PLAIN) -> Array:
        """Codes [B, K, T] int32 and the codebook to predict, 1 … K − 1 → normalised hidden states [B, T, C].

        Codebooks 0 … `codebook` enter the sum of embeddings, the predicted one with what it holds (padding or an
        earlier guess); those after it do not.
        """
        tables = self.code_embeddings[...]
        table = jnp.arange(self.config.codebooks)[:, None]
        embedded = tables[table, codes]  # [B, K, T, C]
        if (scales := self.code_embeddings_scales) is not None:
            embedded = embedded.astype(jnp.float32) * scales[...][table, codes][..., None]
        used = jnp.arange(self.config.codebooks) <= codebook
        x = jnp.where(used[:, None, None], embedded, 0).astype(jnp.float32).sum(axis=1)  # [B, T, C]
        x = x + self.position_embedding[: x.shape[1]].astype(jnp.float32)
        for block in self.blocks:
            x = block.finish(x, attention.window(block.qkv(x, policy), self.config.heads, policy), policy)
        return self.norm(x)

    def logits(self, hidden: Array, codebook: Array | int) -> Array:
        """Hidden states [B, T, C] → float32 logits [B, T, V] of a codebook, whose table is the head's weight."""
        scales = self.code_embeddings_scales
        rows = None if scales is None else scales[...][codebook]
        return project(hidden, self.code_embeddings[...][codebook], self.dtype, rows)
