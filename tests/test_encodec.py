"""Invariants of the codec that need no reference."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bark_jax.config import EncodecConfig
from bark_jax.models.encodec import Encodec, Quantizer, pad_reflect
from bark_jax.stages import codec as codec_stage
from bark_jax.stages.codec import PIECE, encode_waveforms

CONFIG = EncodecConfig(filters=4, width=16, ratios=(4, 3), codebooks=3, codebook_size=64)
HOP = CONFIG.hop
FRAMES = 48

decode = jax.jit(Encodec.decode)
decode_piece = jax.jit(Encodec.decode_piece)
encode = jax.jit(Encodec.encode)


@pytest.fixture(scope="module")
def codec() -> Encodec:
    abstract = nnx.eval_shape(lambda: Encodec(CONFIG))
    random = np.random.default_rng(0)
    tensors = jax.tree.map(lambda leaf: random.normal(0, 0.3, leaf.shape).astype(np.float32), nnx.state(abstract))
    nnx.update(abstract, tensors)
    return abstract


def random_codes(rows: int, frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CONFIG.codebook_size, (rows, CONFIG.codebooks, frames), np.int32)


def assert_same_signal(ours: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for the rounding of sums that other shapes order differently."""
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_padded_equals_unpadded(codec: Encodec) -> None:
    """Also where a row is shorter than the reflection of the first layer."""
    lengths = np.array([1, 2, 6, 7, FRAMES], np.int32)
    codes = random_codes(len(lengths), FRAMES)
    for row, waveform, length in zip(codes, decode(codec, codes, lengths), lengths, strict=True):
        assert_same_signal(waveform[: length * HOP], decode(codec, row[None, :, :length])[0])


def test_what_follows_a_row_changes_no_bit_of_it(codec: Encodec) -> None:
    lengths = np.array([1, 2, 3, 6, 20], np.int32)
    codes = random_codes(len(lengths), FRAMES)
    past_the_end = np.arange(FRAMES) >= lengths[:, None, None]
    others = np.where(past_the_end, random_codes(len(lengths), FRAMES, seed=1), codes)
    waveforms, changed = decode(codec, codes, lengths), decode(codec, others, lengths)
    for before, after, length in zip(waveforms, changed, lengths, strict=True):
        np.testing.assert_array_equal(before[: length * HOP], after[: length * HOP])


@pytest.mark.parametrize("sizes", [(30, 30), (7, 1, 2, 50)])
def test_pieces_are_the_whole(codec: Encodec, sizes: Sequence[int]) -> None:
    """Also where a piece is shorter than what a convolution remembers."""
    lengths, first = np.array([2, 9, sum(sizes)], np.int32), 0
    codes = random_codes(len(lengths), sum(sizes))
    state, waveforms = codec.decoder.start(len(lengths)), []
    for size in sizes:
        piece, state = decode_piece(codec, codes[..., first : first + size], lengths - first, state)
        waveforms.append(piece)
        first += size
    for whole, pieced, length in zip(decode(codec, codes, lengths), np.hstack(waveforms), lengths, strict=True):
        assert_same_signal(pieced[: length * HOP], whole[: length * HOP])


def test_the_decoder_is_causal(codec: Encodec) -> None:
    codes, others = random_codes(1, FRAMES), random_codes(1, FRAMES, seed=1)
    others[..., :30] = codes[..., :30]
    before, after = decode(codec, codes)[0], decode(codec, others)[0]
    np.testing.assert_array_equal(before[: 30 * HOP], after[: 30 * HOP])
    assert not np.allclose(before[30 * HOP :], after[30 * HOP :])


def test_a_batch_equals_single_rows(codec: Encodec) -> None:
    waveforms = np.random.default_rng(0).standard_normal((3, 10 * HOP + 7), np.float32)
    codes = encode(codec, waveforms)
    np.testing.assert_array_equal(codes, np.concatenate([encode(codec, row[None]) for row in waveforms]))
    assert_same_signal(decode(codec, codes), np.concatenate([decode(codec, row[None]) for row in codes]))


def test_jit_equals_eager(codec: Encodec) -> None:
    codes = random_codes(1, 3)
    assert_same_signal(codec.decode(codes), decode(codec, codes))


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 5 * HOP])
def test_encoding_rounds_up_to_whole_frames(codec: Encodec, samples: int) -> None:
    codes = encode(codec, np.ones((2, samples), np.float32))
    assert codes.shape == (2, CONFIG.codebooks, -(-samples // HOP))
    assert codes.dtype == jnp.int32


def test_quantising_codewords_finds_them_again() -> None:
    """With codebooks of which each is far smaller than the one before, the nearest codeword is always the right one."""
    quantizer = Quantizer(CONFIG)
    sizes = jnp.array([1, 0.01, 0.0001])[:, None, None]
    quantizer.codebooks[...] = sizes * jax.random.normal(jax.random.key(0), quantizer.codebooks.shape)
    codes = random_codes(2, 20)
    np.testing.assert_array_equal(quantizer.encode(quantizer.decode(codes)), codes)


@pytest.mark.parametrize(
    ("signal", "left", "right", "padded"),
    [
        ([1, 2, 3, 4], 3, 0, [4, 3, 2, 1, 2, 3, 4]),
        ([1, 2, 3, 4], 2, 1, [3, 2, 1, 2, 3, 4, 3]),
        ([1, 2], 3, 0, [0, 0, 2, 1, 2]),
        ([1, 2], 3, 2, [0, 0, 2, 1, 2, 0, 0]),
        ([1], 2, 0, [0, 0, 1]),
    ],
)
def test_reflection(signal: list[float], left: int, right: int, padded: list[float]) -> None:
    x = jnp.array(signal, jnp.float32)[None, :, None]
    np.testing.assert_array_equal(pad_reflect(x, left, right)[0, :, 0], padded)


def test_the_published_size_holds_float32_only() -> None:
    parameters = jax.tree.leaves(nnx.state(nnx.eval_shape(lambda: Encodec(EncodecConfig()))))
    assert {leaf.dtype for leaf in parameters} == {jnp.dtype("float32")}


def test_waveforms_encoded_together_are_what_they_are_alone(codec: Encodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several batches, in the order given, each followed by silence up to a whole frame."""
    monkeypatch.setattr(codec_stage, "ENCODED_AT_ONCE", 4)
    rng = np.random.default_rng(0)
    lengths = (2 * PIECE * HOP, 30 * HOP + 5, 0, 100 * HOP, 40 * HOP - 1, 31 * HOP, 300 * HOP + 1)
    waveforms = [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]
    for waveform, codes in zip(waveforms, encode_waveforms(codec, waveforms), strict=True):
        frames = -(-len(waveform) // HOP)
        assert (codes.dtype, codes.shape) == (np.int32, (CONFIG.codebooks, frames))
        if frames:
            alone = np.asarray(encode(codec, np.pad(waveform, (0, -len(waveform) % HOP))[None]))[0]
            assert (codes == alone).mean() > 0.99  # codewords may tie
