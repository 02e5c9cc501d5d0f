"""The same random codec in PyTorch and here: signals agree to ‖a−b‖/‖b‖ ≤ 1e-5, codes are identical but for ties."""

from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from transformers import EncodecModel

from bark_jax.audio import read_audio
from bark_jax.config import BarkConfig, EncodecConfig
from bark_jax.models.encodec import Encodec

from parity.encodec_weights import jax_encodec, torch_encodec
from parity.weights import relative_error

TOLERANCE = 1e-5
UNUSUAL = EncodecConfig(  # every size differs from the published one
    filters=6, width=10, ratios=(4, 3), kernel=5, last_kernel=8, residual_kernel=4, compress=3, lstm_layers=3,
    codebooks=5, codebook_size=32,
)  # fmt: skip
CONFIGS = [
    pytest.param(BarkConfig.tiny().codec, id="tiny"),
    pytest.param(UNUSUAL, id="unusual"),
    pytest.param(EncodecConfig(), id="published", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> EncodecConfig:
    return request.param


@pytest.fixture(scope="module")
def theirs(config: EncodecConfig) -> EncodecModel:
    return torch_encodec(config)


@pytest.fixture(scope="module")
def ours(theirs: EncodecModel, config: EncodecConfig) -> Encodec:
    return jax_encodec(theirs, config)


def random_codes(config: EncodecConfig, rows: int, frames: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, config.codebook_size, (rows, config.codebooks, frames), np.int32)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


@torch.inference_mode()
def reference_decode(model: EncodecModel, codes: np.ndarray) -> torch.Tensor:
    """Codes [B, K, T] → waveform [B, samples]."""
    return model.decode(torch.tensor(codes)[None], [None]).audio_values[:, 0]


@torch.inference_mode()
def reference_encode(model: EncodecModel, waveform: np.ndarray) -> torch.Tensor:
    """Waveform [B, samples] → codes [B, K, T]."""
    return model.encode(torch.from_numpy(waveform)[:, None]).audio_codes[0]


def assert_same_codes(ours: Encodec, latents: np.ndarray, codes: np.ndarray, expected: np.ndarray) -> None:
    """The codes [B, K, T] of latents [B, T, C] are equal, but where two codewords are equally near up to rounding.

    Which of them float32 picks depends on the processor. The frame's later codes then differ rightly.
    """
    rest, tied = np.float64(latents), np.zeros(latents.shape[:2], bool)
    for table, mine, theirs in zip(
        np.float64(ours.quantizer.codebooks[...]), *(c.swapaxes(0, 1) for c in (codes, expected)), strict=True
    ):
        differ = (mine != theirs) & ~tied
        near, nearest = (np.square(rest - table[chosen]).sum(-1)[differ] for chosen in (mine, theirs))
        np.testing.assert_allclose(near, nearest, rtol=TOLERANCE)
        tied |= differ
        rest -= table[mine]
    assert tied.mean() <= 1e-3


@pytest.mark.parametrize("frames", [1, 100, pytest.param(750, marks=pytest.mark.slow)])
def test_decoder(theirs: EncodecModel, ours: Encodec, config: EncodecConfig, frames: int) -> None:
    codes = random_codes(config, 2, frames)
    assert relative_error(jax.jit(Encodec.decode)(ours, codes), reference_decode(theirs, codes)) <= TOLERANCE


def test_right_padded_rows(theirs: EncodecModel, ours: Encodec, config: EncodecConfig) -> None:
    """Each row up to its length is what the reference makes of it alone, though other codes follow it."""
    lengths = np.array([*range(1, 9), 40], np.int32)
    codes = random_codes(config, len(lengths), 48)
    waveforms = jax.jit(Encodec.decode)(ours, codes, lengths)
    for row, waveform, length in zip(codes, waveforms, lengths, strict=True):
        alone = reference_decode(theirs, row[None, :, :length])[0]
        assert relative_error(waveform[: length * config.hop], alone) <= TOLERANCE


@pytest.mark.parametrize(
    ("frames", "samples"), [(0, 1), (1, 0), (1, 1), (40, 5), pytest.param(749, 7, marks=pytest.mark.slow)]
)
@torch.inference_mode()
def test_encoder(theirs: EncodecModel, ours: Encodec, config: EncodecConfig, frames: int, samples: int) -> None:
    """Lengths of so many frames and samples more: the last frame is filled up by reflection."""
    waveform = noise(2, frames * config.hop + samples)
    latents, codes = jax.jit(lambda codec, x: (codec.encoder(x[..., None]), codec.encode(x)))(ours, waveform)
    assert relative_error(latents, theirs.encoder(torch.from_numpy(waveform)[:, None]).mT) <= TOLERANCE
    assert_same_codes(ours, np.asarray(latents), np.asarray(codes), reference_encode(theirs, waveform).numpy())


@torch.inference_mode()
def test_quantizer(theirs: EncodecModel, ours: Encodec, config: EncodecConfig) -> None:
    latents = 3 * noise(2, 500, config.width)
    expected = theirs.quantizer.encode(torch.from_numpy(latents).mT)  # [K, B, T]
    codes = ours.quantizer.encode(latents)
    np.testing.assert_array_equal(codes, expected.transpose(0, 1))
    assert all(len(np.unique(codes[:, k])) > config.codebook_size // 4 for k in range(config.codebooks))
    for used in (2, config.codebooks):
        rebuilt = theirs.quantizer.decode(expected[:used]).mT
        assert relative_error(ours.quantizer.decode(codes[:, :used]), rebuilt) <= TOLERANCE


@pytest.mark.slow
def test_a_recording(theirs: EncodecModel, ours: Encodec, config: EncodecConfig, shared_data: Path) -> None:
    """Ten seconds of speech to codes and back."""
    speech = read_audio(shared_data / "speech" / "jfk.flac", config.sample_rate)[None, : 10 * config.sample_rate]
    latents, codes = jax.jit(lambda codec, x: (codec.encoder(x[..., None]), codec.encode(x)))(ours, speech)
    codes = np.asarray(codes)
    assert_same_codes(ours, np.asarray(latents), codes, reference_encode(theirs, speech).numpy())
    waveform = jax.jit(Encodec.decode)(ours, codes)
    assert relative_error(waveform, reference_decode(theirs, codes)) <= TOLERANCE
