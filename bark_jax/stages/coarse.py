"""Semantic tokens → the first EnCodec codebooks (Suno's `generate_coarse`).

Axes: B batch, N semantic tokens, T frames, W windows, G room for generated flat tokens: whole windows.

Tokens are generated in windows of 60. A window's prompt is [256 semantic tokens, infer, up to 630 flat coarse tokens];
all of that is arithmetic on lengths, so the host plans every window (`Plan`) and the device follows the plan. A window
whose prompt only extends the one before it keeps the KV cache: the first 660 tokens of a clip without a voice need one
prefill of 256 positions and no other. Elsewhere the prompt is prefilled anew, as positions restart.

All rows end their prompts in the same cache slot; a shorter prompt starts later (`start`).
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

from bark_jax.config import BarkConfig
from bark_jax.models.gpt import GPT, KVCache
from bark_jax.settings import Settings
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages.progress import Progress, checkpoints, fixed_trips
from bark_jax.stages.sampling import Sampling, draw, filter_logits, fold_keys
from bark_jax.voices.voice import Voice

KEEP, PREFILL_SEMANTIC, PREFILL_ALL = 0, 1, 2  # what a window does before its first token


class Plan(NamedTuple):
    """What every window of a batch starts from."""

    action: np.ndarray  # [W] int32: KEEP, PREFILL_SEMANTIC (no coarse tokens yet) or PREFILL_ALL
    semantic: np.ndarray  # [B, N + max_semantic] int32: history and input, then pads
    semantic_begin: np.ndarray  # [B, W] int32: where the prompt's semantic part begins in `semantic`
    coarse_count: np.ndarray  # [B, W] int32: flat coarse tokens in the prompt


class CoarseState(NamedTuple):
    """A batch in the middle of its decoding."""

    cache: KVCache
    start: Array  # [B] int32: slot where each row's prompt begins
    slot: Array  # int32: where the next token goes
    token: Array  # [B] int32: fed next
    step: Array  # int32: tokens generated
    flat: Array  # [B, max_history + G] int32: each row's history, ending at max_history, then what was generated


def generate_coarse(
    gpt: GPT,
    config: BarkConfig,
    semantic: Sequence[np.ndarray],
    keys: Array,
    settings: Sequence[Settings],
    voices: Sequence[Voice | None] | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Generate the coarse codes of a batch.

    semantic: one int array [N] per item. keys [B]: one typed key per item. Returns one int32 array [2, T] per item,
    T = ⌊N·r/2⌋ with r = 3.006 flat coarse tokens per semantic token. `progress` is called with (steps, all steps).
    """
    voices = voices or [None] * len(semantic)
    histories = [coarse_history(config, voice, s) for voice, s in zip(voices, settings, strict=True)]
    steps = [coarse_steps(config, len(tokens)) for tokens in semantic]
    capacity = _capacity(config, max(len(tokens) for tokens in semantic))
    plan = plan_windows(config, semantic, histories, settings, capacity)
    sampling = Sampling.of(settings, "coarse")
    room = len(plan.action) * config.coarse.window
    flat = _flat_buffer(config, [coarse for _, coarse in histories], room)
    sharding = batch_sharding(gpt)
    keys, sampling, flat = put_batch((keys, sampling, flat), sharding)
    plan = Plan(plan.action, *put_batch(plan[1:], sharding))
    state = _start(gpt, config, flat, sharding)
    for until in checkpoints(max(steps), config.coarse.window, progress):
        state = _advance(gpt, config, plan, keys, sampling, state, np.int32(until), fixed_trips=fixed_trips())
        if progress:
            progress(min(int(state.step), max(steps)), max(steps))
    generated = fetch(state.flat)[:, config.coarse.max_history :]
    return [_unflatten(config, row[:count]) for row, count in zip(generated, steps, strict=True)]


def coarse_steps(config: BarkConfig, semantic_length: int) -> int:
    """Flat coarse tokens generated for so many semantic tokens."""
    codebooks = config.coarse.codebooks
    return codebooks * math.floor(semantic_length * config.coarse_per_semantic / codebooks)


def coarse_history(config: BarkConfig, voice: Voice | None, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The end of a voice that prompts start from: semantic tokens [n] and flat coarse token ids [m], aligned."""
    nothing = np.zeros(0, np.int32)
    if voice is None:
        return nothing, nothing
    ratio = config.coarse_per_semantic
    flat = flatten_codes(config, voice.coarse)
    longest = math.floor(_max_history(config, settings) / ratio)
    count = min(longest, len(voice.semantic) // 2 * 2, math.floor(len(flat) / ratio))
    if count == 0:
        return nothing, nothing
    return voice.semantic[-count:], flat[-round(count * ratio) :][
        : -config.coarse.codebooks
    ]  # Suno drops the last frame


def plan_windows(
    config: BarkConfig,
    semantic: Sequence[np.ndarray],
    histories: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Sequence[Settings],
    capacity: int,
) -> Plan:
    """Plan the windows of a batch. `capacity`, semantic tokens per item, shapes the arrays whatever their lengths."""
    rules, ratio = config.coarse, config.coarse_per_semantic
    windows = np.arange(math.ceil(coarse_steps(config, capacity) / rules.window))
    generated = windows * rules.window
    reach = config.max_semantic_history + capacity + rules.max_semantic
    tokens = np.full((len(semantic), reach), rules.semantic_pad, np.int32)
    begin = np.zeros((len(semantic), len(windows)), np.int32)
    count = np.zeros_like(begin)
    extends = windows > 0
    for i, (new, (old, coarse), chosen) in enumerate(zip(semantic, histories, settings, strict=True)):
        tokens[i, : len(old) + len(new)] = np.concatenate([old, new])
        most = _max_history(config, chosen)
        index = len(old) + np.rint(generated / ratio).astype(np.int32)  # half to even
        begin[i] = np.maximum(0, index - math.floor(most / ratio))
        count[i] = np.minimum(most, len(coarse) + generated)
        extends = extends & (begin[i] == 0) & (count[i] == len(coarse) + generated)
    action = np.where(extends, KEEP, np.where(count.max(axis=0) == 0, PREFILL_SEMANTIC, PREFILL_ALL))
    return Plan(action.astype(np.int32), tokens, begin, count)


def _max_history(config: BarkConfig, settings: Settings) -> int:
    return settings.coarse_history or config.coarse.max_history


def _capacity(config: BarkConfig, semantic_length: int) -> int:
    """Semantic tokens the buffers are made for: few sizes, so that few programs are compiled."""
    unit = config.semantic.max_new
    return unit * max(1, math.ceil(semantic_length / unit))


def _flat_buffer(config: BarkConfig, histories: Sequence[np.ndarray], steps: int) -> np.ndarray:
    most = config.coarse.max_history
    flat = np.full((len(histories), most + steps), config.coarse.semantic_pad, np.int32)
    for row, history in zip(flat, histories, strict=True):
        row[most - len(history) : most] = history
    return flat


def flatten_codes(config: BarkConfig, codes: np.ndarray) -> np.ndarray:
    """Codes [2, T] → interleaved token ids [2·T]."""
    return (codes + _offsets(config)[:, None]).T.reshape(-1)


def _unflatten(config: BarkConfig, flat: np.ndarray) -> np.ndarray:
    """Interleaved token ids [2·T] → codes [2, T]."""
    return np.ascontiguousarray((flat.reshape(-1, config.coarse.codebooks) - _offsets(config)).T)


def _offsets(config: BarkConfig) -> np.ndarray:
    """The token id of each coarse codebook's first code, int32 [2]."""
    return config.semantic.vocab + config.codec.codebook_size * np.arange(config.coarse.codebooks, dtype=np.int32)


def choose_token(gpt: GPT, config: BarkConfig, hidden: Array, sampling: Sampling, keys: Array, step: Array) -> Array:
    """Hidden states [B, C] and one key for each → token ids, int32 [B], of the codebook whose turn it is."""
    size = config.codec.codebook_size
    first = config.semantic.vocab + size * (step % config.coarse.codebooks)
    return first + draw(keys, filter_logits(gpt.logits(hidden, first, size), sampling))


@partial(jax.jit, static_argnums=(1, 3))
def _start(gpt: GPT, config: BarkConfig, flat: Array, sharding: NamedSharding | None = None) -> CoarseState:
    rules, batch = config.coarse, flat.shape[0]
    nothing = jnp.zeros(batch, jnp.int32)
    cache = gpt.empty_cache(batch, cache_length(config))
    state = CoarseState(cache, nothing, jnp.int32(0), nothing + rules.infer, jnp.int32(0), flat)
    return put_batch(state, sharding)


def cache_length(config: BarkConfig) -> int:
    """Slots of the cache: the longest prompt and a window."""
    return config.coarse.max_semantic + config.coarse.max_history + config.coarse.window


@partial(jax.jit, static_argnums=1, static_argnames="fixed_trips", donate_argnames="state")
def _advance(
    gpt: GPT, config: BarkConfig, plan: Plan, keys: Array, sampling: Sampling, state: CoarseState, until: Array,
    *, fixed_trips: bool,
) -> CoarseState:  # fmt: skip
    """The whole stage in one program: windows and their prompts from the state's step to step `until`."""
    rules = config.coarse

    def begin_window(state: CoarseState) -> CoarseState:
        window = state.step // rules.window
        action = jnp.asarray(plan.action)[window]
        prefill = partial(_prefill, gpt, config, plan, state, window)
        lengths = rules.max_semantic, rules.max_semantic + rules.max_history
        return jax.lax.switch(action, [lambda: state, *(partial(prefill, length) for length in lengths)])

    def step(state: CoarseState) -> CoarseState:
        hidden, cache = gpt.step(gpt.embed(state.token), state.cache, state.slot, state.start)
        token = choose_token(gpt, config, hidden, sampling, fold_keys(keys, state.step), state.step)
        flat = jax.lax.dynamic_update_slice_in_dim(state.flat, token[:, None], rules.max_history + state.step, axis=1)
        return CoarseState(cache, state.start, state.slot + 1, token, state.step + 1, flat)

    def run_window(state: CoarseState) -> CoarseState:
        end = jnp.minimum(until, state.step + rules.window)
        state = begin_window(state)
        if fixed_trips:
            return jax.lax.fori_loop(0, rules.window, lambda _, s: step(s), state)
        return jax.lax.while_loop(lambda s: s.step < end, step, state)

    return jax.lax.while_loop(lambda s: s.step < until, run_window, state)


def _prefill(gpt: GPT, config: BarkConfig, plan: Plan, state: CoarseState, window: Array, length: int) -> CoarseState:
    """Prefill `length` positions of a window's prompt: all but its last token, which the next step feeds."""
    count = jnp.asarray(plan.coarse_count)[:, window]  # [B]
    start = count.max() - count
    prompt = _prompt(config, plan, state, window, start, length + 1)
    cache = gpt.prefill(gpt.embed(prompt[:, :length]), start, cache_length(config))
    last = config.coarse.max_semantic + count.max()
    token = jax.lax.dynamic_index_in_dim(prompt, last, axis=1, keepdims=False)
    return state._replace(cache=cache, start=start, slot=last, token=token)


def _prompt(config: BarkConfig, plan: Plan, state: CoarseState, window: Array, start: Array, length: int) -> Array:
    """The token ids [B, length] of a window's prompts; before `start` and after the last token they are arbitrary."""
    rules = config.coarse
    position = jnp.arange(length) - start[:, None]  # [B, length]
    semantic_at = jnp.asarray(plan.semantic_begin)[:, window, None] + position
    semantic = jnp.take_along_axis(jnp.asarray(plan.semantic), semantic_at, axis=1, mode="clip")
    oldest = rules.max_history + state.step - jnp.asarray(plan.coarse_count)[:, window, None]
    coarse_at = oldest + position - (rules.max_semantic + 1)
    coarse = jnp.take_along_axis(state.flat, coarse_at, axis=1, mode="clip")
    prompt = jnp.where(position < rules.max_semantic, semantic, coarse)
    return jnp.where(position == rules.max_semantic, rules.infer, prompt)
