"""How probable are semantic tokens to the model, and what in the text does it look at for them?

Axes: B batch, P text positions, N semantic tokens, V ids.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.config import BarkConfig, SemanticConfig
from bark_jax.models.gpt import GPT
from bark_jax.policy import PLAIN, Policy
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages.hooks import log_probability
from bark_jax.stages.semantic import pad_right, prompt, prompt_rows
from bark_jax.voices.voice import Voice


def score_semantic(
    gpt: GPT,
    config: BarkConfig,
    texts: Sequence[np.ndarray],
    semantic: Sequence[np.ndarray],
    voices: Sequence[Voice | None],
    policy: Policy | None = None,
) -> list[float | None]:
    """How probable a batch of semantic tokens is to the model: the mean of their log-probabilities, per item.

    texts, voices: as in `generate_semantic`; semantic: int [N ≤ max_new] each. The distribution is the model's own, of
    all semantic tokens and the end of the sequence, without temperature or filters. None for an item without tokens.
    """
    rules = config.semantic
    text, history = prompt_rows(rules, texts, voices)
    tokens = pad_right(semantic, rules.max_new, rules.pad)
    rows = put_batch((text, history, tokens), batch_sharding(gpt))
    scores = fetch(_log_probabilities(gpt, rules, *rows, policy or Policy.of(gpt)))
    return [
        float(row[: len(own)].mean(dtype=np.float64)) if len(own) else None
        for row, own in zip(scores, semantic, strict=True)
    ]


def all_logits(
    gpt: GPT, rules: SemanticConfig, text: Array, history: Array, tokens: Array, policy: Policy = PLAIN
) -> Array:
    """Float32 logits [B, N, vocab + 1] of each token [B, N] given all before it, the end of the sequence last.

    text, history: int32 [B, P] as in `semantic.prompt`. One pass, no cache; the head runs where it is read.
    """
    x = teacher_forced(gpt, rules, text, history, tokens)
    hidden = gpt.hidden(x, policy)[:, rules.max_text :]
    return jnp.concatenate([gpt.logits(hidden, 0, rules.vocab), gpt.logits(hidden, rules.pad, 1)], axis=2)


def teacher_forced(gpt: GPT, rules: SemanticConfig, text: Array, history: Array, tokens: Array) -> Array:
    """The embeddings [B, P + N, C] of prompt and tokens; position P + i is the one that predicts token i."""
    infer = jnp.full((len(tokens), 1), rules.infer, jnp.int32)
    fed = jnp.concatenate([infer, tokens[:, :-1]], axis=1)
    return jnp.concatenate([prompt(gpt, text, history), gpt.embed(fed)], axis=1)


def attention_to_text(
    gpt: GPT,
    config: BarkConfig,
    texts: Sequence[np.ndarray],
    semantic: Sequence[np.ndarray],
    voices: Sequence[Voice | None],
    policy: Policy | None = None,
) -> list[np.ndarray]:
    """What the heads of all layers looked at in the text for each semantic token: float32 [heads, N, text], per item.

    One pass over what was generated; texts, semantic, voices as in `score_semantic`.
    """
    rules = config.semantic
    text, history = prompt_rows(rules, texts, voices)
    tokens = pad_right(semantic, rules.max_new, rules.pad)
    rows = put_batch((text, history, tokens), batch_sharding(gpt))
    found = fetch(_attention(gpt, rules, *rows, policy or Policy.of(gpt)))
    return [np.array(heads[:, : len(own), : len(ids)]) for heads, own, ids in zip(found, semantic, texts, strict=True)]


@partial(jax.jit, static_argnames=("rules", "policy"))
def _attention(gpt: GPT, rules: SemanticConfig, text: Array, history: Array, tokens: Array, policy: Policy) -> Array:
    x = teacher_forced(gpt, rules, text, history, tokens)
    return gpt.attentions(x, rules.max_text, rules.max_text, policy)


@partial(jax.jit, static_argnames=("rules", "policy"))
def _log_probabilities(
    gpt: GPT, rules: SemanticConfig, text: Array, history: Array, tokens: Array, policy: Policy
) -> Array:
    """Log-probability of each token [B, N] given all before it, float32 [B, N]."""
    logits = all_logits(gpt, rules, text, history, tokens, policy)
    return log_probability(logits, jnp.minimum(tokens, rules.vocab - 1))  # what pads a row counts for nothing
