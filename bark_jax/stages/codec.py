"""All EnCodec codes ↔ waveform.

Axes: B batch, K codebooks, T frames.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.config import BarkConfig
from bark_jax.models.encodec import Encodec


def frame_capacity(config: BarkConfig, frames: int) -> int:
    """Frames the buffers are made for: multiples of the longest clip, so that few programs are compiled."""
    longest = math.ceil(config.semantic.max_new * config.codec.frame_rate_hz / config.semantic.rate_hz)
    return longest * max(1, math.ceil(frames / longest))


def decode_codes(codec: Encodec, config: BarkConfig, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Codes, one int array [K, T] per item → waveforms, one float32 array [T · hop] per item.

    Items are padded on the right to one length; the decoder is causal, so that changes nothing.
    """
    lengths = np.array([c.shape[1] for c in codes], np.int32)
    padded = np.zeros((len(codes), codes[0].shape[0], frame_capacity(config, lengths.max())), np.int32)
    for row, item in zip(padded, codes, strict=True):
        row[:, : item.shape[1]] = item
    if not lengths.any():
        return [np.zeros(0, np.float32) for _ in codes]
    waveforms = np.asarray(_decode(codec, padded, lengths))
    return [w[: length * config.codec.hop] for w, length in zip(waveforms, lengths, strict=True)]


def encode_waveform(codec: Encodec, waveform: np.ndarray) -> np.ndarray:
    """Mono float32 samples [N] at the codec's sample rate → codes, int32 [K, ⌈N / hop⌉]."""
    return np.asarray(_encode(codec, jnp.asarray(waveform, jnp.float32)[None]))[0]


@jax.jit
def _decode(codec: Encodec, codes: Array, lengths: Array) -> Array:
    return codec.decode(codes, lengths)


@jax.jit
def _encode(codec: Encodec, waveform: Array) -> Array:
    return codec.encode(waveform)
