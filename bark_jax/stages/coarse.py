"""Semantic tokens → the first EnCodec codebooks (Suno's `generate_coarse`).

Axes: B batch, N semantic tokens, T frames, W windows, G room for generated flat tokens: whole windows.

`generate_coarse` is the stage for the host: lists of arrays in and out. The host plans every window of 60 tokens
(`coarse_plan`), and prefills its prompt where it must. Under it are pure functions of arrays, to be jitted, vmapped or
differentiated: `prompt`, `prefill`, `step` and `decode`. Static in all of them: config, length, hooks, policy.

All rows end their prompts in the same cache slot; a shorter prompt starts later (`start`).
"""

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.config import BarkConfig
from bark_jax.models.gpt import GPT
from bark_jax.policy import PLAIN, Policy
from bark_jax.settings import Settings
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages import decoding
from bark_jax.stages.coarse_plan import (
    KEEP,
    PREFILL_SEMANTIC,
    Plan,
    by_codebook,
    capacity,
    coarse_history,
    coarse_steps,
    flat_buffer,
    plan_windows,
    turns,
    unflatten_codes,
)
from bark_jax.stages.decoding import Decoding, Sampled
from bark_jax.stages.hooks import NO_HOOKS, Hooks, LogitsState, Recorded, choose, log_probability, record
from bark_jax.stages.noise import fold_keys
from bark_jax.stages.progress import Progress
from bark_jax.stages.sampling import Sampling
from bark_jax.voices.voice import Voice

CoarseState: TypeAlias = Decoding[Array]
"""`kept`, int32 [B, max_history + G]: each row's history, ending at max_history, then what was generated."""


def generate_coarse(
    gpt: GPT,
    config: BarkConfig,
    semantic: Sequence[np.ndarray],
    keys: Array,
    settings: Sequence[Settings],
    voices: Sequence[Voice | None] | None = None,
    progress: Progress | None = None,
    *,
    hooks: Hooks = NO_HOOKS,
    recorded: Recorded | None = None,
    policy: Policy | None = None,
) -> list[np.ndarray]:
    """Generate the coarse codes of a batch.

    semantic: one int array [N] per item. keys [B]: one typed key per item (`stages.noise`). Returns one int32 array
    [2, T] per item, T = ⌊N·r/2⌋ with r = 3.006 flat coarse tokens per semantic token. `progress` is called with (steps,
    all steps). recorded: takes the outputs that the hooks ask for, [2, T, …] each. policy: by default that of the
    weights' device.
    """
    voices, policy, rules = voices or [None] * len(semantic), policy or Policy.of(gpt), config.coarse
    histories = [coarse_history(config, voice, s) for voice, s in zip(voices, settings, strict=True)]
    steps = [coarse_steps(config, len(tokens)) for tokens in semantic]
    plan = plan_windows(config, semantic, histories, settings, capacity(config, max(map(len, semantic))))
    sampling = Sampling.of(settings, "coarse")
    flat = flat_buffer(config, [coarse for _, coarse in histories], len(plan.action) * rules.window)
    state = start(gpt, config, jnp.asarray(flat), hooks)
    keys, sampling, state, rest = put_batch((keys, sampling, state, plan[1:]), batch_sharding(gpt))
    on_device = Plan(plan.action, *rest)
    if progress:
        progress(0, max(steps))
    for action, until in turns(plan, max(steps), rules.window, watched=progress is not None):
        if action != KEEP:
            length = rules.max_semantic + (0 if action == PREFILL_SEMANTIC else rules.max_history)
            state = state._replace(cache=None)  # so that its memory can hold the new one
            state = _prefill(gpt, config, on_device, state, length, policy)
        state = _advance(gpt, config, state, keys, sampling, np.int32(until), hooks, policy)
        if progress:
            progress(min(int(state.step), max(steps)), max(steps))
    generated = fetch(state.kept)[:, rules.max_history :]
    record(recorded, state.outputs, lambda row, index: by_codebook(config, row[: steps[index]]))
    return [unflatten_codes(config, row[:count]) for row, count in zip(generated, steps, strict=True)]


def cache_length(config: BarkConfig) -> int:
    """Slots of the cache: the longest prompt and a window."""
    return config.coarse.max_semantic + config.coarse.max_history + config.coarse.window


def start(gpt: GPT, config: BarkConfig, flat: Array, hooks: Hooks = NO_HOOKS) -> CoarseState:
    """The state before the first prompt, from each row's history and room (`coarse_plan.flat_buffer`)."""
    batch, steps = flat.shape[0], flat.shape[1] - config.coarse.max_history
    nothing = jnp.zeros(batch, jnp.int32)
    outputs = decoding.empty_outputs(gpt, hooks.outputs, batch, steps, cache_length(config))
    return Decoding(None, nothing, jnp.int32(0), nothing + config.coarse.infer, jnp.int32(0), flat, outputs)


def prompt(config: BarkConfig, plan: Plan, state: CoarseState, length: int) -> Array:
    """The token ids, int32 [B, length], of the prompts of the window that the state's step begins.

    Before a row's beginning and after its last token they are arbitrary.
    """
    rules, window = config.coarse, state.step // config.coarse.window
    count = jnp.asarray(plan.coarse_count)[:, window]  # [B]
    position = jnp.arange(length) - (count.max() - count)[:, None]  # [B, length]
    semantic_at = jnp.asarray(plan.semantic_begin)[:, window, None] + position
    semantic = jnp.take_along_axis(jnp.asarray(plan.semantic), semantic_at, axis=1, mode="clip")
    oldest = rules.max_history + state.step - count[:, None]
    coarse_at = oldest + position - (rules.max_semantic + 1)
    coarse = jnp.take_along_axis(state.kept, coarse_at, axis=1, mode="clip")
    ids = jnp.where(position < rules.max_semantic, semantic, coarse)
    return jnp.where(position == rules.max_semantic, rules.infer, ids)


def prefill(
    gpt: GPT, config: BarkConfig, plan: Plan, state: CoarseState, length: int, policy: Policy = PLAIN
) -> CoarseState:
    """Begin a window: `length` positions of its prompt, all but the last token, which the next step feeds.

    length: max_semantic if there are no coarse tokens yet (PREFILL_SEMANTIC), else max_semantic + max_history.
    """
    count = jnp.asarray(plan.coarse_count)[:, state.step // config.coarse.window]  # [B]
    begin = count.max() - count
    ids = prompt(config, plan, state, length + 1)
    cache = gpt.prefill(gpt.embed(ids[:, :length], policy), begin, cache_length(config), policy)
    last = config.coarse.max_semantic + count.max()
    token = jax.lax.dynamic_index_in_dim(ids, last, axis=1, keepdims=False)
    return state._replace(cache=cache, start=begin, slot=last, token=token)


def step(
    gpt: GPT, config: BarkConfig, state: CoarseState, keys: Array, sampling: Sampling, hooks: Hooks = NO_HOOKS,
    policy: Policy = PLAIN,
) -> CoarseState:  # fmt: skip
    """One token for each row. keys [B]: the rows' typed keys; every step derives its own."""

    def observe(state: CoarseState, sampled: Sampled) -> tuple[Array, Array]:
        at = config.coarse.max_history + state.step
        return sampled.token, jax.lax.dynamic_update_slice_in_dim(state.kept, sampled.token[:, None], at, axis=1)

    sample = partial(_sample, gpt, config, keys=keys, sampling=sampling, hooks=hooks, policy=policy)
    return decoding.decode_step(gpt, state, sample, observe, policy)


def decode(
    gpt: GPT, config: BarkConfig, state: CoarseState, keys: Array, sampling: Sampling, until: Array | int,
    hooks: Hooks = NO_HOOKS, policy: Policy = PLAIN,
) -> CoarseState:  # fmt: skip
    """Steps up to step `until`, which must lie before the next window that needs a prefill."""

    def advance(state: CoarseState) -> CoarseState:
        return step(gpt, config, state, keys, sampling, hooks, policy)

    return decoding.decode(state, advance, lambda state: state.step < until, config.coarse.window, policy)


def _sample(
    gpt: GPT, config: BarkConfig, hidden: Array, state: CoarseState, *, keys: Array, sampling: Sampling, hooks: Hooks,
    policy: Policy,
) -> Sampled:  # fmt: skip
    """Hidden states [B, C] → token ids of the codebook whose turn it is."""
    size, codebooks = config.codec.codebook_size, config.coarse.codebooks
    codebook = state.step % codebooks
    first = config.semantic.vocab + size * codebook

    def seen() -> LogitsState:
        made = state.kept[:, config.coarse.max_history :]
        codes = jnp.where(jnp.arange(made.shape[1]) < state.step, (made - config.semantic.vocab) % size, -1)
        return LogitsState(stage="coarse", step=state.step, tokens=codes, codebook=codebook, codebooks=codebooks)

    logits = gpt.logits(hidden, first, size, policy)
    code, _ = choose(fold_keys(keys, state.step), logits, sampling, hooks, seen, policy)
    asked = "log_probabilities" in hooks.outputs
    return Sampled(first + code, outputs={"log_probabilities": log_probability(logits, code)} if asked else {})


_prefill = jax.jit(prefill, static_argnames=("config", "length", "policy"))
_advance = jax.jit(decode, static_argnames=("config", "hooks", "policy"), donate_argnames="state")
