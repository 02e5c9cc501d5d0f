"""Gradients of the three transformers' losses equal PyTorch's: ‖Δ‖ / ‖g‖ ≤ 1e-4.

The losses are stated here once more, plainly, over transformers' modules and from tokens, not from our batches; every
coarse window has a sequence of its own.
"""

import math
from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.models.bark.modeling_bark import BarkCausalModel, BarkFineModel

from bark_jax.config import BarkConfig
from bark_jax.models.parameters import parameters
from bark_jax.training import coarse_examples, fine_example, semantic_example, stack
from bark_jax.training.losses import coarse_loss, fine_loss, semantic_loss
from bark_jax.voices.voice import Voice

from parity.reference import COARSE_PER_SEMANTIC
from parity.weights import jax_fine_gpt, jax_gpt, torch_fine_gpt, torch_gpt

TOLERANCE = 1e-4
CONFIG = BarkConfig.tiny(bias=True)  # every parameter there can be


def random_voice(semantic: int, frames: int) -> Voice:
    rng = np.random.default_rng(semantic)
    codes = rng.integers(0, CONFIG.codec.codebook_size, (8, frames))
    return Voice(semantic=rng.integers(0, CONFIG.semantic.vocab, semantic), coarse=codes[:2], fine=codes)


def random_text(length: int) -> np.ndarray:
    return np.random.default_rng(length).integers(CONFIG.semantic.text_offset, CONFIG.semantic.text_pad, length)


def padded(values: np.ndarray, length: int, pad: int) -> torch.Tensor:
    return torch.as_tensor(np.append(values, np.full(length - len(values), pad)).astype(np.int64))


def torch_semantic_loss(
    model: BarkCausalModel, text: np.ndarray, tokens: np.ndarray, voice: Voice | None
) -> torch.Tensor:
    """Sum over the clip's tokens and its end."""
    ids, embed = CONFIG.semantic, model.input_embeds_layer
    history = voice.semantic[-256:] if voice else np.zeros(0)
    prompt = embed(padded(text, 256, ids.text_pad)) + embed(padded(history, 256, ids.pad))
    fed = embed(torch.as_tensor(np.append(ids.infer, tokens).astype(np.int64)))
    logits = model(inputs_embeds=torch.cat([prompt, fed])[None]).logits[0, 256:]
    allowed = torch.cat([logits[:, : ids.vocab], logits[:, ids.pad : ids.pad + 1]], dim=1)
    return cross_entropy(allowed, torch.as_tensor(np.append(tokens, ids.vocab).astype(np.int64)), reduction="sum")


def torch_coarse_loss(model: BarkCausalModel, clip: Voice, voice: Voice | None) -> torch.Tensor:
    """Sum over all windows of 60, each behind its own prompt."""
    first_id, size = CONFIG.semantic.vocab, CONFIG.codec.codebook_size

    def flat_of(coarse: np.ndarray) -> np.ndarray:
        return np.stack([coarse[0] + first_id, coarse[1] + first_id + size], axis=1).reshape(-1)

    past_semantic, past = np.zeros(0, int), np.zeros(0, int)
    if voice:  # long enough for a whole history
        past_semantic, past = voice.semantic[-208:], flat_of(voice.coarse)[-round(208 * COARSE_PER_SEMANTIC) :][:-2]
    semantic, new = np.append(past_semantic, clip.semantic), flat_of(clip.coarse)
    total = torch.zeros(())
    for s in range(0, 2 * math.floor(len(clip.semantic) * COARSE_PER_SEMANTIC / 2), 60):
        at = len(past_semantic) + round(s / COARSE_PER_SEMANTIC)
        part = padded(semantic[max(0, at - 209) :][:256], 256, CONFIG.coarse.semantic_pad)
        before, window = np.append(past, new[:s])[-630:], new[s : s + 60]
        tokens = np.concatenate([part, [CONFIG.coarse.infer], before, window[:-1]]).astype(np.int64)
        logits = model(torch.as_tensor(tokens)[None]).logits[0, -len(window) :]
        for turn in range(2):
            allowed = logits[turn::2, first_id + turn * size :][:, :size]
            target = torch.as_tensor((window[turn::2] - first_id - turn * size).astype(np.int64))
            total = total + cross_entropy(allowed, target, reduction="sum")
    return total


def torch_fine_loss(
    model: BarkFineModel, beyond: np.ndarray, codes: np.ndarray, codebook: int, start: int, known: int
) -> torch.Tensor:  # fmt: skip
    """Sum over the frames from `known` on that the clip has; generation's guesses are shown for those it has not."""
    frames, pad = codes.shape[1], CONFIG.fine.pad
    window = np.hstack([codes, np.full((8, max(0, 1024 - frames)), pad)])[:, start : start + 1024].astype(np.int64)
    shown = window.copy()
    shown[codebook, known:] = pad
    shown[2:codebook, frames:] = beyond[2:codebook, frames:]
    logits = model(codebook, torch.as_tensor(shown.T)[None]).logits[0, :, : CONFIG.codec.codebook_size]
    counted = slice(known, min(1024, frames - start))
    return cross_entropy(logits[counted], torch.as_tensor(window[codebook, counted]), reduction="sum")


def torch_gradients(model: Any, loss: torch.Tensor, in_ours: Any, config: Any) -> dict[str, jax.Array]:
    """Under our names and in our layout: the weights are overwritten by their gradients, and converted."""
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    return parameters(in_ours(model, config))


def assert_equal(loss: Any, network: Any, theirs: Any, theirs_loss: torch.Tensor, in_ours: Any) -> None:
    """Losses and their gradients: ours of a network, and what PyTorch makes of the same weights."""
    total, gradients = jax.jit(jax.value_and_grad(lambda network: loss(network).total))(network)
    assert float(total) == pytest.approx(theirs_loss.item(), rel=1e-5)
    expected = torch_gradients(theirs, theirs_loss, in_ours, network.config)
    found = {path: np.asarray(x, np.float64) for path, x in parameters(gradients).items()}
    error = math.hypot(*(np.linalg.norm(found[path] - x) for path, x in expected.items()))
    assert found.keys() == expected.keys()
    assert error <= TOLERANCE * math.hypot(*(np.linalg.norm(x) for x in expected.values()))


def test_semantic() -> None:
    """Two clips of different lengths, one with a voice."""
    theirs = torch_gpt(CONFIG.semantic.gpt, std=0.2)
    clips = [
        (random_text(12), random_voice(20, 30).semantic, None),
        (random_text(30), random_voice(41, 62).semantic, random_voice(300, 450)),
    ]
    batch = stack([semantic_example(CONFIG, *clip) for clip in clips])
    expected = sum(torch_semantic_loss(theirs, *clip) for clip in clips)
    ours = jax_gpt(theirs, CONFIG.semantic.gpt)
    assert_equal(lambda network: semantic_loss(network, CONFIG, batch), ours, theirs, expected, jax_gpt)


@pytest.mark.parametrize("voice_length", [None, (208, 314)])
def test_coarse(voice_length: tuple[int, int] | None) -> None:
    """Three windows: one example without a voice, as none needs a prompt of its own, three with one."""
    theirs = torch_gpt(CONFIG.coarse.gpt, std=0.2)
    clip = random_voice(50, 75)
    voice = random_voice(*voice_length) if voice_length else None
    examples = coarse_examples(CONFIG, clip, voice)
    assert len(examples) == (3 if voice else 1)
    batch, expected = stack(examples), torch_coarse_loss(theirs, clip, voice)
    ours = jax_gpt(theirs, CONFIG.coarse.gpt)
    assert_equal(lambda network: coarse_loss(network, CONFIG, batch), ours, theirs, expected, jax_gpt)


def test_fine() -> None:
    """A clip shorter than a window, and the last window of a longer one, behind a known prefix."""
    theirs = torch_fine_gpt(CONFIG.fine.gpt, std=0.1)
    beyond = random_voice(680, 1024).fine
    windows = [(random_voice(60, 90).fine, 4, 0, 0), (random_voice(700, 1050).fine, 6, 26, 300)]
    batch = stack([fine_example(CONFIG, c, codebook=k, start=s, known=n, beyond=beyond) for c, k, s, n in windows])
    expected = sum(torch_fine_loss(theirs, beyond, *window) for window in windows)
    ours = jax_fine_gpt(theirs, CONFIG.fine.gpt)
    assert_equal(lambda network: fine_loss(network, CONFIG, batch), ours, theirs, expected, jax_fine_gpt)
