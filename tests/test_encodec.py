"""Invariants of the codec that need no reference."""

import jax
import numpy as np
import pytest

from bark_jax.checkpoint import random_networks
from bark_jax.config import BarkConfig
from bark_jax.models.encodec import Encodec
from bark_jax.stages.codec import decode_codes, encode_waveform

CONFIG = BarkConfig.tiny()


@pytest.fixture(scope="module")
def codec() -> Encodec:
    network = random_networks(CONFIG, jax.random.key(0))["codec"]
    assert isinstance(network, Encodec)
    return network


def random_codes(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, CONFIG.codec.codebook_size, (8, frames), np.int32)


@pytest.mark.parametrize("frames", [1, 3, 6, 7, 40])
def test_padded_equals_unpadded(codec: Encodec, frames: int) -> None:
    codes = random_codes(frames)
    alone = jax.jit(Encodec.decode)(codec, codes[None], np.array([frames], np.int32))[0]
    padded = decode_codes(codec, CONFIG, [codes])[0]
    np.testing.assert_allclose(padded, alone, rtol=0, atol=1e-6 * np.abs(alone).max())


def test_a_batch_equals_single_items(codec: Encodec) -> None:
    items = [random_codes(frames, seed=frames) for frames in (3, 0, 17, 60)]
    for item, waveform in zip(items, decode_codes(codec, CONFIG, items), strict=True):
        assert waveform.shape == (320 * item.shape[1],)
        np.testing.assert_allclose(waveform, decode_codes(codec, CONFIG, [item])[0], atol=1e-5)


def test_the_decoder_is_causal(codec: Encodec) -> None:
    codes = random_codes(40)
    changed = codes.copy()
    changed[:, 30:] = random_codes(10, seed=9)
    before, after = decode_codes(codec, CONFIG, [codes, changed])
    np.testing.assert_array_equal(before[: 30 * 320], after[: 30 * 320])
    assert not np.allclose(before[30 * 320 :], after[30 * 320 :])


def test_fewer_codebooks_decode(codec: Encodec) -> None:
    assert decode_codes(codec, CONFIG, [random_codes(10)[:2]])[0].shape == (3200,)


def test_quantising_a_codeword_sum_finds_it_again(codec: Encodec) -> None:
    """With codebooks of rapidly falling size the greedy search is the inverse of decoding."""
    codec.quantizer.codebooks[...] = codec.quantizer.codebooks[...] * 10.0 ** -np.arange(8, dtype=np.float32)[:, None, None]
    codes = random_codes(20)[None]
    np.testing.assert_array_equal(codec.quantizer.encode(codec.quantizer.decode(codes)), codes)


def test_encoding_rounds_up_to_whole_frames(codec: Encodec) -> None:
    for samples, frames in ((1, 1), (320, 1), (321, 2), (24_000, 75)):
        assert encode_waveform(codec, np.ones(samples, np.float32)).shape == (8, frames)
