"""Coarse codes → all EnCodec codes (Suno's `generate_fine`).

Axes: B batch, G codebooks given, K codebooks, T frames, L frames of the working buffer, W window length.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.config import BarkConfig
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.settings import Settings
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages.codec import frame_capacity
from bark_jax.stages.progress import Progress, checkpoints
from bark_jax.stages.sampling import Sampling, fold_keys, sample
from bark_jax.voices.voice import Voice


class Rows(NamedTuple):
    """How the windows lie in each row of the buffer."""

    length: np.ndarray  # [B] int32: frames of history, clip and padding, at least one window
    history: np.ndarray  # [B] int32: frames of the voice in front
    windows: np.ndarray  # [B] int32: windows to run


def generate_fine(
    model: FineGPT,
    config: BarkConfig,
    coarse: Sequence[np.ndarray],
    keys: Array,
    settings: Sequence[Settings],
    voices: Sequence[Voice | None] | None = None,
    progress: Progress | None = None,
) -> list[np.ndarray]:
    """Fill in the codebooks that are not given.

    coarse: one int array [G, T] per item, T ≥ 0, 1 ≤ G < K alike for all (the coarse stage makes 2). keys [B]: one
    typed key per item. Returns one int32 array [K, T] per item, the first G rows unchanged. `progress` is called with
    (windows done, all windows). Raises ValueError when the items differ in G.
    """
    given = {len(c) for c in coarse}
    if len(given) > 1:
        raise ValueError(f"the items of a batch must have equally many codebooks, not {sorted(given)}")
    histories = [_history(config, voice) for voice in voices or [None] * len(coarse)]
    rows = plan_rows(config, [c.shape[1] for c in coarse], [h.shape[1] for h in histories])
    codes = jnp.asarray(_buffer(config, coarse, histories))
    sampling = Sampling.of(settings, "fine")
    total, done = int(rows.windows.max()), 0
    codes, rows, keys, sampling = put_batch((codes, rows, keys, sampling), batch_sharding(model))
    for until in checkpoints(total, 1, progress):
        codes = _advance(model, config, rows, keys, sampling, codes, np.int32(done), np.int32(until), given=min(given))
        done = until
        if progress:
            codes.block_until_ready()
            progress(done, total)
    result = fetch(codes)
    return [
        result[i, :, h.shape[1] : h.shape[1] + c.shape[1]].copy()
        for i, (c, h) in enumerate(zip(coarse, histories, strict=True))
    ]


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


@partial(jax.jit, static_argnums=1, static_argnames="given", donate_argnames="codes")
def _advance(
    model: FineGPT, config: BarkConfig, rows: Rows, keys: Array, sampling: Sampling,
    codes: Array, first: Array, until: Array, *, given: int,
) -> Array:  # fmt: skip
    """Run windows first … until − 1 over the buffer [B, K, L], whose first `given` codebooks stay."""
    total = config.codec.codebooks
    length, hop = config.fine.gpt.block_size, config.fine.hop

    def run_window(index: Array, codes: Array) -> Array:
        start = jnp.minimum(hop * index, rows.length - length)  # [B]
        fill = jnp.minimum(rows.history + hop * index, rows.length - hop) - start
        fresh = (jnp.arange(length) >= fill[:, None]) & (index < rows.windows)[:, None]  # [B, W]
        window = jax.vmap(lambda row, at: jax.lax.dynamic_slice_in_dim(row, at, length, axis=1))(codes, start)

        def predict(codebook: Array, window: Array) -> Array:
            logits = model(window, codebook)[..., : config.codec.codebook_size]  # [B, W, V]
            predicted = _sample_frames(fold_keys(keys, index * total + codebook), logits, sampling)
            row = jnp.where(fresh, predicted, jax.lax.dynamic_index_in_dim(window, codebook, axis=1, keepdims=False))
            return jax.lax.dynamic_update_index_in_dim(window, row, codebook, axis=1)

        window = jax.lax.fori_loop(given, total, predict, window)
        put = jax.vmap(lambda row, new, at: jax.lax.dynamic_update_slice_in_dim(row, new, at, axis=1))
        return put(codes, window, start)

    return jax.lax.fori_loop(first, until, run_window, codes)


def _sample_frames(keys: Array, logits: Array, sampling: Sampling) -> Array:
    """One code per frame, int32 [B, W], from logits [B, W, V]; every frame of a row has its own key."""
    frame_keys = jax.vmap(lambda key: jax.random.split(key, logits.shape[1]))(keys)  # [B, W]
    return jax.vmap(sample, in_axes=(1, 1, None), out_axes=1)(frame_keys, logits, sampling)
