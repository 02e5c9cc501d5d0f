"""Text in, waveform out: full-size checkpoints in the published formats against PyTorch from the first token on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from transformers import BarkModel

from bark_jax import Bark, BarkConfig, Voice
from bark_jax.convert import convert_checkpoint
from bark_jax.text import builtin_tokenizer

from parity import reference
from parity.weights import relative_error
from torch_checkpoints import random_model, save_bin, write_huggingface, write_suno

TEXT = "Hello, my name is Suno. [laughs]"
SEMANTIC_TOKENS = 60
GREEDY = {"semantic_temperature": 0, "coarse_temperature": 0, "fine_temperature": 0, "allow_early_stop": False}


class Clip(NamedTuple):
    """What PyTorch makes of TEXT and a voice."""

    voice: Voice
    semantic: reference.Decoded
    coarse: reference.Decoded
    fine: reference.Decoded
    waveform: torch.Tensor


@pytest.fixture(scope="module")
def config(request: pytest.FixtureRequest) -> BarkConfig:
    return BarkConfig.preset(request.param)


@pytest.fixture(scope="module")
def model(config: BarkConfig) -> BarkModel:
    return random_model(config, std=0.3 if config == BarkConfig.tiny() else 0.06)  # so that tokens vary


@pytest.fixture(scope="module")
def clip(config: BarkConfig, model: BarkModel) -> Clip:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, config.codec.codebook_size, (8, 519), np.int32)
    voice = Voice(semantic=rng.integers(0, config.semantic.vocab, 346, np.int32), coarse=codes[:2], fine=codes)
    text = np.array(builtin_tokenizer().encode(TEXT, add_special_tokens=False).ids)
    semantic = reference.generate_semantic(
        model.semantic, config, text, voice, steps=SEMANTIC_TOKENS, allow_early_stop=False
    )
    coarse = reference.generate_coarse(model.coarse_acoustics, config, semantic.tokens, voice)
    fine = reference.generate_fine(model.fine_acoustics, config, coarse.tokens, voice)
    with torch.inference_mode():
        latents = model.codec_model.quantizer.decode(torch.from_numpy(fine.tokens)[:, None])
        waveform = model.codec_model.decoder(latents)[0, 0]
    return Clip(voice, semantic, coarse, fine, waveform)


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        ("tiny", "huggingface"),
        pytest.param("small", "huggingface", marks=pytest.mark.slow),
        pytest.param("small", "suno", marks=pytest.mark.slow),  # these files always have the published ids and codec
    ],
    indirect=["config"],
    scope="module",
)
def test_a_converted_checkpoint_speaks_as_pytorch_does(
    config: BarkConfig, model: BarkModel, clip: Clip, tmp_path: Path, layout: str
) -> None:
    source = tmp_path / "source"
    if layout == "huggingface":
        write_huggingface(source, model.state_dict(), config, save_bin)
    else:
        source.mkdir()
        write_suno(source, model.state_dict(), config, "")
    convert_checkpoint(source, tmp_path / "out", progress=False)

    bark = Bark.from_pretrained(tmp_path / "out")
    seconds = (SEMANTIC_TOKENS + 0.5) / config.semantic.rate_hz
    result = bark.generate(TEXT, clip.voice, seed=0, max_seconds=seconds, **GREEDY)
    np.testing.assert_array_equal(result.semantic, clip.semantic.tokens)
    np.testing.assert_array_equal(result.coarse, clip.coarse.tokens)
    np.testing.assert_array_equal(result.fine, clip.fine.tokens)
    assert relative_error(result.waveform, clip.waveform) <= 1e-4
    assert min(len(np.unique(tokens)) for tokens in (result.semantic, result.coarse, result.fine)) > 20
