"""The same random weights in PyTorch and here give the same float32 logits: ‖a−b‖/‖b‖ ≤ 1e-5."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.bark.modeling_bark import BarkCausalModel, BarkFineModel

from bark_jax.config import BarkConfig
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT

from parity.weights import jax_fine_gpt, jax_gpt, relative_error, torch_fine_gpt, torch_gpt

TOLERANCE = 1e-5
LENGTH = 270  # tokens: more than one chunk of queries
STEPS = 5  # of them fed one by one to the cache
SIZES = {"tiny": BarkConfig.tiny(), "small": BarkConfig.small(), "large": BarkConfig.large()}


def networks(*stages: str) -> list:
    """Every size, those below large with biases too; a module-scoped fixture over these holds one network at a time."""
    return [
        pytest.param(
            dataclasses.replace(getattr(config, stage).gpt, bias=bias),
            id=f"{stage}-{size}{'-bias' * bias}",
            marks=[] if size == "tiny" else [pytest.mark.slow],
        )
        for stage, (size, config), bias in itertools.product(stages, SIZES.items(), (False, True))
        if size != "large" or not bias
    ]


@pytest.fixture(scope="module", params=networks("semantic", "coarse"))
def causal(request: pytest.FixtureRequest) -> tuple[BarkCausalModel, GPT]:
    model = torch_gpt(request.param)
    return model, jax_gpt(model, request.param)


@pytest.fixture(scope="module", params=networks("fine"))
def fine(request: pytest.FixtureRequest) -> tuple[BarkFineModel, FineGPT]:
    model = torch_fine_gpt(request.param)
    return model, jax_fine_gpt(model, request.param)


def random_ids(vocab: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocab, shape, np.int32)


@torch.inference_mode()
def test_causal_logits(causal: tuple[BarkCausalModel, GPT]) -> None:
    theirs, ours = causal
    tokens = random_ids(ours.config.input_vocab, 1, LENGTH)
    expected = theirs(torch.from_numpy(tokens)).logits
    logits = jax.jit(lambda gpt, tokens: gpt(gpt.embed(tokens)))(ours, tokens)
    assert relative_error(logits, expected) <= TOLERANCE


@torch.inference_mode()
def test_prefill_and_cached_steps(causal: tuple[BarkCausalModel, GPT]) -> None:
    """Prompts of several lengths end in one slot: junk before a row, or after its prompt, is not seen."""
    theirs, ours = causal
    prompt = LENGTH - STEPS
    start = np.array([0, LENGTH - 40, prompt], np.int32)  # the last row has no prompt
    tokens = random_ids(ours.config.input_vocab, 3, LENGTH)
    expected = [theirs(torch.from_numpy(row[first:])[None]).logits[0] for row, first in zip(tokens, start, strict=True)]

    slots = np.arange(LENGTH)
    junk = np.roll(tokens, 1, axis=1)
    padded = np.where((slots < start[:, None]) | (slots >= prompt), junk, tokens)
    cache = jax.jit(GPT.prefill, static_argnums=3)(ours, ours.embed(padded), start, LENGTH)
    step, some_logits = jax.jit(GPT.step), jax.jit(GPT.logits, static_argnums=3)
    first, count = ours.config.output_vocab // 3, ours.config.output_vocab // 2
    for slot in range(prompt, LENGTH):
        hidden, cache = step(ours, ours.embed(tokens[:, slot]), cache, jnp.int32(slot), start)
        wanted = np.stack([logits[slot - begin] for logits, begin in zip(expected, start, strict=True)])
        assert relative_error(ours.logits(hidden), wanted) <= TOLERANCE
        sliced = some_logits(ours, hidden, jnp.int32(first), count)
        assert relative_error(sliced, wanted[:, first : first + count]) <= TOLERANCE


@torch.inference_mode()
def test_fine_logits_of_every_codebook(fine: tuple[BarkFineModel, FineGPT]) -> None:
    theirs, ours = fine
    length = LENGTH if ours.config.width < 100 else 64  # seven passes of a large model take minutes otherwise
    codes = random_ids(ours.config.vocab, 1, ours.config.codebooks, length)
    predict = jax.jit(FineGPT.__call__)
    for codebook in range(1, ours.config.codebooks):
        expected = theirs(codebook, torch.from_numpy(codes).swapaxes(1, 2)).logits
        assert relative_error(predict(ours, codes, jnp.int32(codebook)), expected) <= TOLERANCE
