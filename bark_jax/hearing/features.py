"""HuBERT's features of recordings of any length, in windows of a fixed size.

Axes: N samples, T features, C channels, k taps of the first kernel.

The norm after the first convolution is over the whole recording, so its statistics are gathered first. What else a
feature depends on are the samples under it, 64 features to either side for the positions, and attention, which sees
the window where it would see the recording. So recordings up to `WHOLE` seconds are heard whole, and longer ones in
windows of that length, of which `MARGIN` seconds at inner ends are only looked at.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array

from bark_jax.models.hubert import SAMPLE_RATE, Hubert, HubertConfig, Moments

WHOLE = 30  # seconds, of the longest window
MARGIN = 5  # seconds
_BUCKETS = (5, 15, WHOLE)  # seconds: lengths that shorter recordings are padded to, each a program
_CHUNK = 2**20  # samples whose moments are computed at once

Floats = npt.NDArray[np.float32]


def hear(hubert: Hubert, waveform: Floats, layer: int) -> Iterator[Floats]:
    """The features after `layer` blocks of a mono waveform [N] at 16 kHz, in pieces [≤ 1500, C] from left to right.

    Together they are `hubert.config.count(N)` features, of a recording without any none. Memory is that of one window.
    """
    config = hubert.config
    total = config.count(len(waveform))
    if not total:
        return
    moments = gather_moments(waveform, config)
    size = WHOLE * SAMPLE_RATE // config.hop
    margin = min(MARGIN * SAMPLE_RATE // config.hop, size // 4)
    start = done = 0  # of the window, and features that have been given out
    while done < total:
        last = start + size >= total
        stop = total if last else start + size
        features = _window(hubert, waveform, moments, start, stop - start, layer)
        until = stop if last else stop - margin
        yield features[done - start : until - start]
        done, start = until, until - margin


def gather_moments(waveform: Floats, config: HubertConfig) -> Moments:
    """Mean and covariance of what stands under the taps of the first kernel, over all of its positions, float32.

    PyTorch's group norm divides by the number of positions, and so does this. Computed in float64.
    """
    taps, stride = config.kernels[0], config.strides[0]
    windows = np.lib.stride_tricks.sliding_window_view(waveform, taps)[::stride]  # [T, k]
    total, products = np.zeros(taps), np.zeros((taps, taps))
    for first in range(0, len(windows), _CHUNK // stride):
        part = windows[first : first + _CHUNK // stride].astype(np.float64)
        total += part.sum(axis=0)
        products += part.T @ part
    mean = total / len(windows)
    covariance = products / len(windows) - np.outer(mean, mean)
    return Moments(jnp.asarray(mean[None], jnp.float32), jnp.asarray(covariance[None], jnp.float32))


def _window(hubert: Hubert, waveform: Floats, moments: Moments, start: int, count: int, layer: int) -> Floats:
    """`count` features from number `start` on, of a window padded to one of a few lengths."""
    config = hubert.config
    first = start * config.hop
    samples = waveform[first : first + (count - 1) * config.hop + config.reach]
    room = next((s * SAMPLE_RATE for s in _BUCKETS if s * SAMPLE_RATE >= len(samples)), len(samples))
    padded = np.zeros((1, room + config.reach), np.float32)
    padded[0, : len(samples)] = samples
    return np.asarray(_features(hubert, padded, moments, np.array([count], np.int32), layer))[0, :count]


@partial(jax.jit, static_argnames="layer")
def _features(hubert: Hubert, waveform: Array, moments: Moments, lengths: Array, layer: int) -> Array:
    return hubert(waveform, moments, lengths, layer)
