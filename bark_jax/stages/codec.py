"""All EnCodec codes ↔ waveform.

Axes: B batch, K codebooks, T frames.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.config import BarkConfig
from bark_jax.models.encodec import DecoderState, Encodec
from bark_jax.policy import PLAIN, Policy
from bark_jax.sharding import batch_sharding, fetch, put_batch
from bark_jax.stages.progress import Progress

PIECE = PLAIN.codec_piece  # frames of a stream's pieces
ENCODED_AT_ONCE = 16  # pieces of all rows: larger batches were not faster on two cores


def frame_capacity(config: BarkConfig, frames: int) -> int:
    """Frames the buffers are made for: multiples of the longest clip, so that few programs are compiled."""
    longest = math.ceil(config.semantic.max_new * config.codec.frame_rate_hz / config.semantic.rate_hz)
    return longest * max(1, math.ceil(frames / longest))


def decode_codes(
    codec: Encodec,
    config: BarkConfig,
    codes: Sequence[np.ndarray],
    progress: Progress | None = None,
    policy: Policy | None = None,
) -> list[np.ndarray]:
    """Codes, one int array [K, T] per item → waveforms, one float32 array [T · hop] per item.

    Items are padded on the right to one length; the decoder is causal, so that changes nothing. `progress` is called
    before and after, with (frames done, all frames) of the longest item. policy: by default that of the weights'
    device.
    """
    lengths = np.array([c.shape[1] for c in codes], np.int32)
    total = int(lengths.max())
    if progress:
        progress(0, total)
    if not total:
        return [np.zeros(0, np.float32) for _ in codes]
    padded = _pad_right(codes, frame_capacity(config, total))
    piece = (policy or Policy.of(codec)).codec_piece
    waveforms = fetch(_decode(codec, *put_batch((padded, lengths), batch_sharding(codec)), piece))
    if progress:
        progress(total, total)
    return [w[: length * config.codec.hop] for w, length in zip(waveforms, lengths, strict=True)]


def decode_pieces(codec: Encodec, codes: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """`decode_codes`, second by second: each time, for every item, the next float32 samples, at most PIECE · hop."""
    lengths = np.array([c.shape[1] for c in codes], np.int32)
    pieces = math.ceil(int(lengths.max()) / PIECE)
    padded, sharding = _pad_right(codes, pieces * PIECE), batch_sharding(codec)
    state, frames = put_batch(_start(codec, len(codes)), sharding), Policy.of(codec).codec_piece
    for first in range(0, pieces * PIECE, PIECE):
        left = lengths - first
        piece = put_batch((padded[:, :, first : first + PIECE], left), sharding)
        samples, state = _decode_piece(codec, *piece, state, frames)
        yield [w[: max(0, n) * codec.hop] for w, n in zip(fetch(samples), left, strict=True)]


def _pad_right(codes: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """[B, K, frames] int32."""
    padded = np.zeros((len(codes), codes[0].shape[0], frames), np.int32)
    for row, item in zip(padded, codes, strict=True):
        row[:, : item.shape[1]] = item
    return padded


def encode_waveform(codec: Encodec, waveform: np.ndarray) -> np.ndarray:
    """Mono float32 samples [N] at the codec's sample rate → codes, int32 [K, ⌈N / hop⌉]."""
    return fetch(_encode(codec, jnp.asarray(waveform, jnp.float32)[None]))[0]


def encode_waveforms(codec: Encodec, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Mono float32 samples, [N] each, at the codec's sample rate → codes, int32 [K, ⌈N / hop⌉] each.

    What does not fill a frame is followed by silence. Waveforms of like lengths are encoded together, padded on the
    right to whole pieces; the encoder is causal, so that changes nothing. A program is compiled for each number of
    pieces.
    """
    codes = [np.zeros((0, 0), np.int32)] * len(waveforms)
    waiting = sorted(range(len(waveforms)), key=lambda i: len(waveforms[i]))  # the longest last
    while waiting:
        pieces = max(1, math.ceil(len(waveforms[waiting[-1]]) / (PIECE * codec.hop)))
        rows = max(1, ENCODED_AT_ONCE // pieces)
        together, waiting = waiting[-rows:], waiting[:-rows]
        padded = np.zeros((rows, pieces * PIECE * codec.hop), np.float32)
        for row, index in zip(padded, together, strict=False):
            row[: len(waveforms[index])] = waveforms[index]
        for row, index in zip(fetch(_encode(codec, jnp.asarray(padded))), together, strict=False):
            codes[index] = row[:, : math.ceil(len(waveforms[index]) / codec.hop)]
    return codes


@partial(jax.jit, static_argnames="piece")
def _decode(codec: Encodec, codes: Array, lengths: Array, piece: int) -> Array:
    """Codes [B, K, T] → waveforms [B, T · hop or more], decoded up to the longest row and zero after it."""
    missing = -codes.shape[2] % piece
    codes = jnp.pad(codes, ((0, 0), (0, 0), (0, missing)))
    return _in_pieces(codec, codes, lengths, codec.decoder.start(len(codes)), piece)[0]


def _in_pieces(
    codec: Encodec, codes: Array, lengths: Array, state: DecoderState, piece: int
) -> tuple[Array, DecoderState]:
    """Codes [B, K, T] in pieces of `piece` frames, which divides T → waveforms [B, T · hop] and the state after."""

    def decode_piece(index: Array, carry: tuple[Array, DecoderState]) -> tuple[Array, DecoderState]:
        waveform, state = carry
        first = index * piece
        own = jax.lax.dynamic_slice_in_dim(codes, first, piece, axis=2)
        samples, state = codec.decode_piece(own, lengths - first, state)
        return jax.lax.dynamic_update_slice_in_dim(waveform, samples, first * codec.hop, axis=1), state

    silence = jnp.zeros((len(codes), codes.shape[2] * codec.hop), jnp.float32)
    used = -(-jnp.clip(lengths.max(), 0, codes.shape[2]) // piece)
    return jax.lax.fori_loop(0, used, decode_piece, (silence, state))


@partial(jax.jit, static_argnums=1)
def _start(codec: Encodec, batch: int) -> DecoderState:
    return codec.decoder.start(batch)


@partial(jax.jit, static_argnames="piece", donate_argnames="state")
def _decode_piece(
    codec: Encodec, codes: Array, lengths: Array, state: DecoderState, piece: int
) -> tuple[Array, DecoderState]:
    return _in_pieces(codec, codes, lengths, state, piece)


@jax.jit
def _encode(codec: Encodec, waveform: Array) -> Array:
    return codec.encode(waveform)
