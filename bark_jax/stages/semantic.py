"""Text → semantic tokens (Suno's `generate_text_semantic`).

Axes: B batch, P prompt length, N room for generated tokens, S cache length, C width.

`generate_semantic` is the stage for the host: lists of arrays in and out. Under it are pure functions of arrays, to be
jitted, vmapped or differentiated: `prompt`, `prefill`, `step` and `decode`. Static in all: rules, hooks, policy.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import NamedSharding

from bark_jax.config import BarkConfig, SemanticConfig
from bark_jax.models.gpt import GPT
from bark_jax.policy import PLAIN, Policy
from bark_jax.settings import Settings
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages import decoding
from bark_jax.stages.decoding import Decoding, Sampled
from bark_jax.stages.hooks import NO_HOOKS, Hooks, LogitsState, Recorded, choose, log_probability, record
from bark_jax.stages.noise import fold_keys
from bark_jax.stages.progress import Progress, checkpoints
from bark_jax.stages.sampling import Sampling
from bark_jax.voices.voice import Voice

SEGMENT = 32  # steps between two looks at whether all rows have ended, where looking is costly


class StopRule(NamedTuple):
    """When each row ends."""

    allowed: Array  # [B] bool: may end before its limit
    min_eos_p: Array  # [B] float32: ends once the end-of-sequence probability reaches this (above 1: never)
    limit: Array  # [B] int32: tokens at most


class Spoken(NamedTuple):
    """What the rows have said so far."""

    tokens: Array  # [B, N] int32, N = max_new or more: generated so far, then pads
    lengths: Array  # [B] int32: tokens of each row
    done: Array  # [B] bool


SemanticState: TypeAlias = Decoding[Spoken]


def generate_semantic(
    gpt: GPT,
    config: BarkConfig,
    texts: Sequence[np.ndarray],
    keys: Array,
    settings: Sequence[Settings],
    voices: Sequence[Voice | None] | None = None,
    progress: Progress | None = None,
    *,
    hooks: Hooks = NO_HOOKS,
    recorded: Recorded | None = None,
    policy: Policy | None = None,
) -> list[np.ndarray]:
    """Generate the semantic tokens of a batch of texts.

    texts: one int array of offset token ids per item, at most `max_text` long (see `text.encode_text`). keys [B]: one
    typed key per item (`stages.noise`). Returns one int32 array [N] per item, 0 ≤ N ≤ max_new; empty when the first
    token is the end of the sequence. `progress` is called with (tokens so far, most tokens) every few steps. recorded:
    takes the outputs that the hooks ask for. policy: by default that of the weights' device.
    """
    rules, policy = config.semantic, policy or Policy.of(gpt)
    text, history = prompt_rows(rules, texts, voices or [None] * len(texts))
    stop = stop_rule(rules, settings)
    sampling = Sampling.of(settings, "semantic")
    sharding = batch_sharding(gpt)
    text, history, keys, sampling, stop = put_batch((text, history, keys, sampling, stop), sharding)
    state = _prefill(gpt, rules, text, history, hooks, policy, sharding)
    most = int(stop.limit.max())
    for until in checkpoints(most, 2 * SEGMENT, progress):
        state = _advance(gpt, rules, state, keys, sampling, stop, np.int32(until), hooks, policy)
        if progress:
            progress(int(state.kept.lengths.max()), most)
            if state.kept.done.all():
                break
    tokens, lengths = fetch(state.kept.tokens), fetch(state.kept.lengths)
    record(recorded, state.outputs, lambda row, index: row[: lengths[index]])
    return [row[:length] for row, length in zip(tokens, lengths, strict=True)]


def prompt_rows(
    rules: SemanticConfig, texts: Sequence[np.ndarray], voices: Sequence[Voice | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Text ids and history of each item, padded, int32 [B, max_text]."""
    history = [v.semantic[-rules.max_text :] if v else np.zeros(0, np.int32) for v in voices]
    return pad_right(texts, rules.max_text, rules.text_pad), pad_right(history, rules.max_text, rules.pad)


def pad_right(rows: Sequence[np.ndarray], length: int, pad: int) -> np.ndarray:
    """Rows of ids, padded: int32 [B, length]."""
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


def prompt(gpt: GPT, text: Array, history: Array, policy: Policy = PLAIN) -> Array:
    """Text ids and history, int32 [B, P], share their positions: the sum of both embeddings, float32 [B, P, C]."""
    return gpt.embed(text, policy) + gpt.embed(history, policy)


def prefill(
    gpt: GPT, rules: SemanticConfig, text: Array, history: Array, hooks: Hooks = NO_HOOKS, policy: Policy = PLAIN
) -> SemanticState:
    """The state before the first step, from text ids and history, int32 [B, max_text] each (see `prompt_rows`)."""
    batch, steps = len(text), _capacity(rules)
    nothing = jnp.zeros(batch, jnp.int32)
    cache = gpt.prefill(prompt(gpt, text, history, policy), nothing, cache_length(rules), policy)
    tokens = jnp.full((batch, steps), rules.pad, jnp.int32)
    return Decoding(
        cache=cache, start=nothing, slot=jnp.int32(rules.max_text), token=nothing + rules.infer, step=jnp.int32(0),
        kept=Spoken(tokens=tokens, lengths=nothing, done=jnp.zeros(batch, bool)),
        outputs=decoding.empty_outputs(gpt, hooks.outputs, batch, steps, cache_length(rules)),
    )  # fmt: skip


def step(
    gpt: GPT, rules: SemanticConfig, state: SemanticState, keys: Array, sampling: Sampling, stop: StopRule,
    hooks: Hooks = NO_HOOKS, policy: Policy = PLAIN,
) -> SemanticState:  # fmt: skip
    """One token for each row that has not ended. keys [B]: the rows' typed keys; every step derives its own."""

    def observe(state: SemanticState, sampled: Sampled) -> tuple[Array, Spoken]:
        said, ended = state.kept, cast(Array, sampled.ended)
        done = said.done | ended
        token = jnp.where(done, rules.pad, sampled.token)
        lengths = said.lengths + jnp.where(done, 0, 1)
        tokens = jax.lax.dynamic_update_slice_in_dim(said.tokens, token[:, None], state.step, axis=1)
        return token, Spoken(tokens, lengths, done | (lengths >= stop.limit))

    sample = partial(_sample, gpt, rules, keys=keys, sampling=sampling, stop=stop, hooks=hooks, policy=policy)
    return decoding.decode_step(gpt, state, sample, observe, policy)


def decode(
    gpt: GPT, rules: SemanticConfig, state: SemanticState, keys: Array, sampling: Sampling, stop: StopRule,
    until: Array | int, hooks: Hooks = NO_HOOKS, policy: Policy = PLAIN,
) -> SemanticState:  # fmt: skip
    """Steps up to step `until`, at most max_new, or the end of all rows."""

    def advance(state: SemanticState) -> SemanticState:
        return step(gpt, rules, state, keys, sampling, stop, hooks, policy)

    def unfinished(state: SemanticState) -> Array:
        return (state.step < until) & ~state.kept.done.all()

    return decoding.decode(state, advance, unfinished, SEGMENT, policy)


def _sample(
    gpt: GPT, rules: SemanticConfig, hidden: Array, state: SemanticState, *, keys: Array, sampling: Sampling,
    stop: StopRule, hooks: Hooks, policy: Policy,
) -> Sampled:  # fmt: skip
    """Hidden states [B, C] → tokens, and which rows end with them."""

    def seen() -> LogitsState:
        said = state.kept
        tokens = jnp.where(jnp.arange(said.tokens.shape[1]) < said.lengths[:, None], said.tokens, -1)
        return LogitsState(stage="semantic", step=state.step, tokens=tokens, codebook=0, codebooks=1)

    logits = gpt.logits(hidden, policy=policy)
    eos = jnp.where(stop.allowed, logits[:, rules.pad], -jnp.inf)
    live = jnp.concatenate([logits[:, : rules.vocab], eos[:, None]], axis=1)
    token, filtered = choose(fold_keys(keys, state.step), live, sampling, hooks, seen, policy)
    outputs = {}
    if "log_probabilities" in hooks.outputs:
        own = jnp.concatenate([logits[:, : rules.vocab], logits[:, rules.pad, None]], axis=1)
        outputs["log_probabilities"] = log_probability(own, token)
    return Sampled(token, apply_stop_rule(filtered, token, stop.min_eos_p), outputs)


def apply_stop_rule(filtered: Array, token: Array, min_eos_p: Array) -> Array:
    """Which rows end here, bool [B]: the end-of-sequence token, the last of the logits [B, V], is drawn or probable."""
    eos_p = jax.nn.softmax(filtered, axis=1)[:, -1]
    return (token == filtered.shape[1] - 1) | (eos_p >= min_eos_p)


@partial(jax.jit, static_argnames=("rules", "hooks", "policy", "sharding"))
def _prefill(
    gpt: GPT, rules: SemanticConfig, text: Array, history: Array, hooks: Hooks, policy: Policy,
    sharding: NamedSharding | None,
) -> SemanticState:  # fmt: skip
    return put_batch(prefill(gpt, rules, text, history, hooks, policy), sharding)


_advance = jax.jit(decode, static_argnames=("rules", "hooks", "policy"), donate_argnames="state")
