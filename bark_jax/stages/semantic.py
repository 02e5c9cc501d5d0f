"""Text → semantic tokens (Suno's `generate_text_semantic`).

Axes: B batch, N generated tokens, H heads, S cache length, D head dim.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding

from bark_jax.config import BarkConfig, SemanticConfig
from bark_jax.models.gpt import GPT, KVCache
from bark_jax.settings import Settings
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages.progress import Progress, checkpoints, fixed_trips
from bark_jax.stages.sampling import Sampling, draw, filter_logits, fold_keys
from bark_jax.voices.voice import Voice

SEGMENT = 32  # steps between two looks at whether all rows have ended, where looking is dear


class StopRule(NamedTuple):
    """When each row ends."""

    allowed: Array  # [B] bool: may end before its limit
    min_eos_p: Array  # [B] float32: ends once the end-of-sequence probability reaches this (above 1: never)
    limit: Array  # [B] int32: tokens at most


class SemanticState(NamedTuple):
    """A batch in the middle of its decoding."""

    cache: KVCache  # S = max_text + max_new or more
    token: Array  # [B] int32: fed next
    step: Array  # int32: steps taken
    tokens: Array  # [B, max_new or more] int32: generated so far, then pads
    lengths: Array  # [B] int32: tokens of each row
    done: Array  # [B] bool


def generate_semantic(
    gpt: GPT,
    config: BarkConfig,
    texts: Sequence[np.ndarray],
    keys: Array,
    settings: Sequence[Settings],
    voices: Sequence[Voice | None] | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Generate the semantic tokens of a batch of texts.

    texts: one int array of offset token ids per item, at most `max_text` long (see `text.encode_text`). keys [B]: one
    typed key per item. Returns one int32 array [N] per item, 0 ≤ N ≤ max_new; empty when the first token is the end of
    the sequence. `progress` is called with (tokens so far, most tokens) every few steps.
    """
    rules = config.semantic
    text, history = prompt_rows(rules, texts, voices or [None] * len(texts))
    stop = stop_rule(rules, settings)
    sampling = Sampling.of(settings, "semantic")
    sharding = batch_sharding(gpt)
    text, history, keys, sampling, stop = put_batch((text, history, keys, sampling, stop), sharding)
    state = _start(gpt, rules, len(texts), sharding)
    most = int(stop.limit.max())
    for until in checkpoints(most, 2 * SEGMENT, progress):
        state = _advance(
            gpt, rules, text, history, keys, sampling, stop, state, np.int32(until), fixed_trips=fixed_trips()
        )
        if progress:
            progress(int(state.lengths.max()), most)
            if state.done.all():
                break
    return [row[:length] for row, length in zip(fetch(state.tokens), fetch(state.lengths), strict=True)]


def score_semantic(
    gpt: GPT,
    config: BarkConfig,
    texts: Sequence[np.ndarray],
    semantic: Sequence[np.ndarray],
    voices: Sequence[Voice | None],
) -> list[float | None]:
    """How probable a batch of semantic tokens is to the model: the mean of their log-probabilities, per item.

    texts, voices: as in `generate_semantic`; semantic: int [N ≤ max_new] each. The distribution is the model's own, of
    all semantic tokens and the end of the sequence, without temperature or filters. None for an item without tokens.
    """
    rules = config.semantic
    text, history = prompt_rows(rules, texts, voices)
    tokens = _pad_right(semantic, rules.max_new, rules.pad)
    sharding = batch_sharding(gpt)
    scores = fetch(_log_probabilities(gpt, rules, *put_batch((text, history, tokens), sharding)))
    return [
        float(row[: len(own)].mean(dtype=np.float64)) if len(own) else None
        for row, own in zip(scores, semantic, strict=True)
    ]


def prompt_rows(
    rules: SemanticConfig, texts: Sequence[np.ndarray], voices: Sequence[Voice | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Text ids and history of each item, padded, int32 [B, max_text]."""
    history = [v.semantic[-rules.max_text :] if v else np.zeros(0, np.int32) for v in voices]
    return _pad_right(texts, rules.max_text, rules.text_pad), _pad_right(history, rules.max_text, rules.pad)


def merge_prompt(gpt: GPT, text: Array, history: Array) -> Array:
    """Text ids and history, int32 [B, max_text], share their positions: the sum of both embeddings [B, max_text, C]."""
    return gpt.embed(text) + gpt.embed(history)


def all_logits(gpt: GPT, rules: SemanticConfig, text: Array, history: Array, tokens: Array) -> Array:
    """Float32 logits [B, N, vocab + 1] of each token [B, N] given all before it, the end of the sequence last.

    text, history [B, max_text] as in `merge_prompt`. One pass, no cache.
    """
    infer = jnp.full((len(tokens), 1), rules.infer, jnp.int32)
    fed = jnp.concatenate([infer, tokens[:, :-1]], axis=1)
    logits = gpt(jnp.concatenate([merge_prompt(gpt, text, history), gpt.embed(fed)], axis=1))[:, rules.max_text :]
    return jnp.concatenate([logits[..., : rules.vocab], logits[..., rules.pad, None]], axis=2)


def choose_token(
    gpt: GPT, rules: SemanticConfig, hidden: Array, sampling: Sampling, stop: StopRule, keys: Array
) -> tuple[Array, Array]:
    """Hidden states [B, C] and one key for each → tokens, int32 [B], and which rows end with them, bool [B]."""
    logits = gpt.logits(hidden)
    eos = jnp.where(stop.allowed, logits[:, rules.pad], -jnp.inf)
    filtered = filter_logits(jnp.concatenate([logits[:, : rules.vocab], eos[:, None]], axis=1), sampling)
    token = draw(keys, filtered)
    return token, apply_stop_rule(filtered, token, stop.min_eos_p)


def apply_stop_rule(filtered: Array, token: Array, min_eos_p: Array) -> Array:
    """Which rows end here, bool [B]: the end-of-sequence token, the last of the logits [B, V], is drawn or probable."""
    eos_p = jax.nn.softmax(filtered, axis=1)[:, -1]
    return (token == filtered.shape[1] - 1) | (eos_p >= min_eos_p)


def _pad_right(rows: Sequence[np.ndarray], length: int, pad: int) -> np.ndarray:
    padded = np.full((len(rows), length), pad, np.int32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def stop_rule(rules: SemanticConfig, settings: Sequence[Settings]) -> StopRule:
    """When the items with these settings end."""

    def limit(seconds: float | None) -> int:
        tokens = math.inf if seconds is None else float(seconds) * rules.rate_hz
        return rules.max_new if tokens >= rules.max_new else max(1, int(tokens))

    def threshold(probability: float | None) -> float:
        # Below the least normal float32 it would be 0, which even an end that is not allowed reaches.
        return math.inf if probability is None else max(float(probability), float(np.finfo(np.float32).tiny))

    return StopRule(
        allowed=jnp.asarray([s.allow_early_stop for s in settings]),
        min_eos_p=jnp.asarray(np.array([threshold(s.min_eos_p) for s in settings], np.float32)),
        limit=jnp.asarray(np.array([limit(s.max_seconds) for s in settings], np.int32)),
    )


def cache_length(rules: SemanticConfig) -> int:
    """Slots of the cache: the prompt, and all steps."""
    return rules.max_text + _capacity(rules)


def _capacity(rules: SemanticConfig) -> int:
    """Steps there is room for: whole segments."""
    return math.ceil(rules.max_new / SEGMENT) * SEGMENT


@partial(jax.jit, static_argnums=(1, 2, 3))
def _start(gpt: GPT, rules: SemanticConfig, batch: int, sharding: NamedSharding | None = None) -> SemanticState:
    state = SemanticState(
        cache=gpt.empty_cache(batch, cache_length(rules)),
        token=jnp.full(batch, rules.infer, jnp.int32),
        step=jnp.int32(0),
        tokens=jnp.full((batch, _capacity(rules)), rules.pad, jnp.int32),
        lengths=jnp.zeros(batch, jnp.int32),
        done=jnp.zeros(batch, bool),
    )
    return put_batch(state, sharding)


@partial(jax.jit, static_argnums=1, static_argnames="fixed_trips", donate_argnames="state")
def _advance(
    gpt: GPT, rules: SemanticConfig, text: Array, history: Array, keys: Array, sampling: Sampling, stop: StopRule,
    state: SemanticState, until: Array, *, fixed_trips: bool,
) -> SemanticState:  # fmt: skip
    """The whole stage in one program: the prompt at step 0, then tokens up to step `until` or the end of all rows."""
    no_padding = jnp.zeros(text.shape[0], jnp.int32)

    def prefill() -> KVCache:
        return gpt.prefill(merge_prompt(gpt, text, history), no_padding, cache_length(rules))

    def step(state: SemanticState) -> SemanticState:
        x = gpt.embed(state.token)
        hidden, cache = gpt.step(x, state.cache, rules.max_text + state.step, no_padding)
        token, ended = choose_token(gpt, rules, hidden, sampling, stop, fold_keys(keys, state.step))
        done = state.done | ended
        token = jnp.where(done, rules.pad, token)
        lengths = state.lengths + jnp.where(done, 0, 1)
        tokens = jax.lax.dynamic_update_slice_in_dim(state.tokens, token[:, None], state.step, axis=1)
        return SemanticState(cache, token, state.step + 1, tokens, lengths, done | (lengths >= stop.limit))

    def unfinished(state: SemanticState) -> Array:
        return (state.step < until) & ~state.done.all()

    def segment(state: SemanticState) -> SemanticState:
        return jax.lax.fori_loop(0, SEGMENT, lambda _, s: step(s), state)

    state = state._replace(cache=jax.lax.cond(state.step == 0, prefill, lambda: state.cache))
    return jax.lax.while_loop(unfinished, segment if fixed_trips else step, state)


@partial(jax.jit, static_argnums=1)
def _log_probabilities(gpt: GPT, rules: SemanticConfig, text: Array, history: Array, tokens: Array) -> Array:
    """Log-probability of each token [B, N] given all before it, float32 [B, N]."""
    log_p = jax.nn.log_softmax(all_logits(gpt, rules, text, history, tokens), axis=2)
    known = jnp.minimum(tokens, rules.vocab - 1)  # what pads a row counts for nothing
    return jnp.take_along_axis(log_p, known[..., None], axis=2)[..., 0]
