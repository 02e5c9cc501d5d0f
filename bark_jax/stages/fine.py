"""Coarse codes → all EnCodec codes (Suno's `generate_fine`).

Axes: B batch, G codebooks given, K codebooks, T frames, L frames of the working buffer, W window length, C width,
V codes.

`generate_fine` is the stage for the host: lists of arrays in and out. Under it are pure functions of arrays, to be
jitted, vmapped or differentiated: `start`, `prompt` (a window of the buffer), `step` (a codebook of a window) and
`decode` (windows). Static in all of them: config, given, hooks, policy.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.config import BarkConfig
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.policy import PLAIN, Policy
from bark_jax.settings import Settings
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages.codec import frame_capacity
from bark_jax.stages.hooks import NO_HOOKS, Hooks, LogitsState, Recorded, log_probability, process, record
from bark_jax.stages.noise import fold_keys, split_key
from bark_jax.stages.progress import Progress, checkpoints
from bark_jax.stages.sampling import Sampling, draw, filter_logits
from bark_jax.voices.voice import Voice


class Rows(NamedTuple):
    """How the windows lie in each row of the buffer."""

    length: np.ndarray  # [B] int32: frames of history, clip and padding, at least one window
    history: np.ndarray  # [B] int32: frames of the voice in front
    windows: np.ndarray  # [B] int32: windows to run


class FineState(NamedTuple):
    """A batch between two windows."""

    codes: Array  # [B, K, L] int32: histories, given and predicted codes, pads elsewhere
    outputs: dict[str, Array]  # asked-for outputs: log_probabilities [B, K, L], hidden [B, K, L, C], float32


def generate_fine(
    model: FineGPT,
    config: BarkConfig,
    coarse: Sequence[np.ndarray],
    keys: Array,
    settings: Sequence[Settings],
    voices: Sequence[Voice | None] | None = None,
    progress: Progress | None = None,
    *,
    hooks: Hooks = NO_HOOKS,
    recorded: Recorded | None = None,
    policy: Policy | None = None,
) -> list[np.ndarray]:
    """Fill in the codebooks that are not given.

    coarse: one int array [G, T] per item, T ≥ 0, 1 ≤ G < K alike for all (the coarse stage makes 2). keys [B]: one
    typed key per item (`stages.noise`). Returns one int32 array [K, T] per item, the first G rows unchanged. `progress`
    is called with (windows done, all windows). recorded: takes the outputs that the hooks ask for (there is no
    "attention" here): each [K, T, …], 0 for the codebooks that were given. policy: by default that of the weights'
    device. Raises ValueError when the items differ in G.
    """
    given = {len(c) for c in coarse}
    if len(given) > 1:
        raise ValueError(f"the items of a batch must have equally many codebooks, not {sorted(given)}")
    histories = [_history(config, voice) for voice in voices or [None] * len(coarse)]
    rows = plan_rows(config, [c.shape[1] for c in coarse], [h.shape[1] for h in histories])
    state = start(model, jnp.asarray(_buffer(config, coarse, histories)), hooks)
    sampling, policy = Sampling.of(settings, "fine"), policy or Policy.of(model)
    total, done = int(rows.windows.max()), 0
    state, rows, keys, sampling = put_batch((state, rows, keys, sampling), batch_sharding(model))
    for until in checkpoints(total, 1, progress):
        state = _advance(
            model, config, state, rows, keys, sampling, np.int32(done), np.int32(until), min(given), hooks, policy
        )
        done = until
        if progress:
            state.codes.block_until_ready()
            progress(done, total)
    spans = [slice(h.shape[1], h.shape[1] + c.shape[1]) for c, h in zip(coarse, histories, strict=True)]
    record(recorded, state.outputs, lambda row, index: row[:, spans[index]])
    return [row[:, span].copy() for row, span in zip(fetch(state.codes), spans, strict=True)]


def plan_rows(config: BarkConfig, frames: Sequence[int], history: Sequence[int]) -> Rows:
    """Lay out rows of `frames` new frames behind `history` older ones, both per item."""
    window, hop = config.fine.gpt.block_size, config.fine.hop
    windows = [
        1 + max(0, math.ceil((t - (window - h)) / hop)) if t else 0 for t, h in zip(frames, history, strict=True)
    ]
    length = [max(window, h + t) for t, h in zip(frames, history, strict=True)]
    return Rows(*(np.array(x, np.int32) for x in (length, history, windows)))


def _history(config: BarkConfig, voice: Voice | None) -> np.ndarray:
    if voice is None:
        return np.zeros((config.codec.codebooks, 0), np.int32)
    return voice.fine[:, -config.fine.max_history :]


def _buffer(config: BarkConfig, coarse: Sequence[np.ndarray], histories: Sequence[np.ndarray]) -> np.ndarray:
    """[B, K, L] int32: the history, the coarse rows, and pads elsewhere."""
    rules = config.fine
    capacity = rules.max_history + frame_capacity(config, max(c.shape[1] for c in coarse))
    shape = (len(coarse), config.codec.codebooks, max(rules.gpt.block_size, capacity))
    codes = np.full(shape, rules.pad, np.int32)
    for row, new, old in zip(codes, coarse, histories, strict=True):
        row[:, : old.shape[1]] = old
        row[: new.shape[0], old.shape[1] : old.shape[1] + new.shape[1]] = new
    return codes


def start(model: FineGPT, codes: Array, hooks: Hooks = NO_HOOKS) -> FineState:
    """The state before the first window, from the buffer, int32 [B, K, L]."""
    shapes: dict[str, tuple[int, ...]] = {"log_probabilities": (), "hidden": (model.config.width,)}
    names = sorted(hooks.outputs & shapes.keys())
    return FineState(codes, {name: jnp.zeros(codes.shape + shapes[name], jnp.float32) for name in names})


def prompt(config: BarkConfig, rows: Rows, codes: Array, index: Array) -> tuple[Array, Array, Array]:
    """Window `index` of each row of the buffer [B, K, L].

    Returns where it begins, int32 [B]; which of its frames are predicted, bool [B, W]; its codes, int32 [B, K, W].
    """
    length, hop = config.fine.gpt.block_size, config.fine.hop
    begin = jnp.minimum(hop * index, rows.length - length)
    fill = jnp.minimum(rows.history + hop * index, rows.length - hop) - begin
    fresh = (jnp.arange(length) >= fill[:, None]) & (index < rows.windows)[:, None]
    cut = jax.vmap(lambda row, at: jax.lax.dynamic_slice_in_dim(row, at, length, axis=1))
    return begin, fresh, cut(codes, begin)


def step(
    model: FineGPT, config: BarkConfig, window: Array, fresh: Array, index: Array, codebook: Array, keys: Array,
    sampling: Sampling, hooks: Hooks = NO_HOOKS, policy: Policy = PLAIN,
) -> tuple[Array, dict[str, Array]]:  # fmt: skip
    """Predict a codebook of window `index`, int32 [B, K, W], where its frames are fresh, bool [B, W].

    keys [B]: the rows' typed keys, of which every step derives its own. Returns the window and the outputs of this
    codebook: log_probabilities [B, W] and hidden [B, W, C], if the hooks ask for them.
    """
    hidden = model.hidden(window, codebook, policy)
    logits = own = model.logits(hidden, codebook)[..., : config.codec.codebook_size]  # [B, W, V]
    if hooks.processors:
        total = config.codec.codebooks
        seen = LogitsState(stage="fine", step=index, tokens=window, codebook=codebook, codebooks=total)
        logits = process(logits, hooks, seen)
    keys = fold_keys(keys, index * config.codec.codebooks + codebook)
    predicted = _sample_frames(keys, logits, sampling, hooks)
    made = {"hidden": hidden.astype(jnp.float32)}
    if "log_probabilities" in hooks.outputs:
        made["log_probabilities"] = log_probability(own, predicted)
    row = jnp.where(fresh, predicted, jax.lax.dynamic_index_in_dim(window, codebook, axis=1, keepdims=False))
    window = jax.lax.dynamic_update_index_in_dim(window, row, codebook, axis=1)
    return window, {name: output for name, output in made.items() if name in hooks.outputs}


def decode(
    model: FineGPT, config: BarkConfig, state: FineState, rows: Rows, keys: Array, sampling: Sampling,
    first: Array | int, until: Array | int, given: int, hooks: Hooks = NO_HOOKS, policy: Policy = PLAIN,
) -> FineState:  # fmt: skip
    """Windows first … until − 1; the first `given` codebooks stay."""
    put = jax.vmap(lambda row, new, at: jax.lax.dynamic_update_slice_in_dim(row, new, at, axis=1))

    def run_window(index: Array, state: FineState) -> FineState:
        begin, fresh, window = prompt(config, rows, state.codes, index)

        def predict(codebook: Array, carry: tuple[Array, dict[str, Array]]) -> tuple[Array, dict[str, Array]]:
            window, outputs = carry
            window, made = step(model, config, window, fresh, index, codebook, keys, sampling, hooks, policy)
            kept = {name: _keep(outputs[name], new, begin, fresh, codebook) for name, new in made.items()}
            return window, kept

        window, outputs = jax.lax.fori_loop(given, config.codec.codebooks, predict, (window, state.outputs))
        return FineState(put(state.codes, window, begin), outputs)

    return jax.lax.fori_loop(first, until, run_window, state)


def _keep(output: Array, new: Array, begin: Array, fresh: Array, codebook: Array) -> Array:
    """An output [B, K, L, …] with that of the fresh frames of a codebook's window, [B, W, …], in its place."""

    def keep(row: Array, new: Array, at: Array, fresh: Array) -> Array:
        line = jax.lax.dynamic_index_in_dim(row, codebook, keepdims=False)  # [L, …]
        old = jax.lax.dynamic_slice_in_dim(line, at, len(new))
        new = jnp.where(fresh.reshape(-1, *[1] * (new.ndim - 1)), new, old)
        return jax.lax.dynamic_update_index_in_dim(
            row, jax.lax.dynamic_update_slice_in_dim(line, new, at, axis=0), codebook, axis=0
        )

    return jax.vmap(keep)(output, new, begin, fresh)


def _sample_frames(keys: Array, logits: Array, sampling: Sampling, hooks: Hooks) -> Array:
    """One code per frame, int32 [B, W], from logits [B, W, V]; every frame of a row has its own key."""
    frame_keys = jax.vmap(lambda key: split_key(key, logits.shape[1]))(keys)  # [B, W]
    sampler = hooks.sampler or draw

    def sample(keys: Array, logits: Array, sampling: Sampling) -> Array:
        return sampler(keys, filter_logits(logits, sampling))

    return jax.vmap(sample, in_axes=(1, 1, None), out_axes=1)(frame_keys, logits, sampling)


_advance = jax.jit(decode, static_argnames=("config", "given", "hooks", "policy"), donate_argnames="state")
