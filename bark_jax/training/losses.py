"""Losses of the three transformers: cross-entropies, each over the ids that generation draws from.

Every loss is a sum with the number of its terms, so that parts of a batch add up to the whole. The codec's is in
`codec.py`.

Axes: B batch, P text positions of the prompt, M semantic tokens, L positions of a coarse example, K codebooks,
S codes of a codebook, W frames of a window, V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from bark_jax.config import BarkConfig
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.stages.scoring import all_logits
from bark_jax.training.batches import CoarseBatch, FineBatch, SemanticBatch


class Loss(NamedTuple):
    """A sum and its number of terms; `mean` is what is minimised."""

    total: Array  # float32 scalar
    terms: Array  # float32 scalar
    parts: dict[str, Array]  # sums of what the total consists of, for the log

    @property
    def mean(self) -> Array:
        """NaN where nothing was counted."""
        return self.total / self.terms


def semantic_loss(gpt: GPT, config: BarkConfig, batch: SemanticBatch) -> Loss:
    """−Σ_b Σ_{t < learned_b} log p(targets_bt | text_b, history_b, targets_b,<t).

    p is over the semantic tokens and the end of the sequence.
    """
    rules = config.semantic
    targets = jnp.where(batch.targets == rules.pad, rules.vocab, batch.targets)
    counted = jnp.arange(targets.shape[1]) < jnp.asarray(batch.learned)[:, None]
    logits = all_logits(gpt, rules, jnp.asarray(batch.text), jnp.asarray(batch.history), jnp.asarray(batch.targets))
    return _cross_entropy(logits, targets, counted)


def coarse_loss(gpt: GPT, config: BarkConfig, batch: CoarseBatch) -> Loss:
    """−Σ_b Σ_{first_b ≤ t < first_b + learned_b} log p(tokens_bt | tokens_b,<t).

    p is over the codes of the one codebook whose turn it is.
    """
    position = jnp.arange(1, batch.tokens.shape[1])
    first, learned = jnp.asarray(batch.first)[:, None], jnp.asarray(batch.learned)[:, None]
    counted = (position >= first) & (position < first + learned)  # [B, L − 1]
    code = (jnp.asarray(batch.tokens)[:, 1:] - config.semantic.vocab) % config.codec.codebook_size
    return _cross_entropy(coarse_logits(gpt, config, batch), code, counted)


def coarse_logits(gpt: GPT, config: BarkConfig, batch: CoarseBatch) -> Array:
    """Float32 logits [B, L − 1, S] of all tokens but the first, over the codes of each token's own codebook.

    Where a token is no code, they are those of any codebook.
    """
    tokens = jnp.asarray(batch.tokens)
    codebooks, size, offset = config.coarse.codebooks, config.codec.codebook_size, config.semantic.vocab
    logits = gpt(gpt.embed(tokens[:, :-1]))[..., offset : offset + codebooks * size]  # [B, L − 1, K·S]
    logits = logits.reshape(*logits.shape[:2], codebooks, size)
    codebook = jnp.clip((tokens[:, 1:] - offset) // size, 0, codebooks - 1)  # [B, L − 1]
    return jnp.take_along_axis(logits, codebook[..., None, None], axis=2).squeeze(2)


def fine_loss(model: FineGPT, config: BarkConfig, batch: FineBatch) -> Loss:
    """−Σ_b Σ_{first_b ≤ t < first_b + learned_b} log p(targets_bt | codes_b), p over the codes of codebook_b."""
    frame = jnp.arange(batch.targets.shape[1])
    first, learned = jnp.asarray(batch.first)[:, None], jnp.asarray(batch.learned)[:, None]
    counted = (frame >= first) & (frame < first + learned)  # [B, W]
    return _cross_entropy(fine_logits(model, config, batch), jnp.asarray(batch.targets), counted)


def fine_logits(model: FineGPT, config: BarkConfig, batch: FineBatch) -> Array:
    """Float32 logits [B, W, S]; every row has its own codebook to predict."""
    predict = jax.vmap(lambda codes, codebook: model(codes[None], codebook)[0])
    return predict(jnp.asarray(batch.codes), jnp.asarray(batch.codebook))[..., : config.codec.codebook_size]


def _cross_entropy(logits: Array, targets: Array, counted: Array) -> Loss:
    """Of float32 logits [..., V] for int32 targets [...], over those that are counted, bool [...].

    Targets that are not counted may be outside the vocabulary.
    """
    entropies = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(counted, targets, 0))
    return Loss(jnp.where(counted, entropies, 0).sum(), counted.sum(dtype=jnp.float32), {})
