"""Decoding in every stage equals the PyTorch reference token by token: greedy, and sampled with the same noise."""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import numpy as np
import pytest
import torch
from test_sampling import suno_probabilities
from transformers.models.bark.modeling_bark import BarkCausalModel, BarkFineModel

from bark_jax.config import BarkConfig
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.settings import Settings
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.noise import fold_keys
from bark_jax.stages.sampling import Sampling, sample
from bark_jax.stages.semantic import generate_semantic
from bark_jax.voices.voice import Voice

from parity import reference
from parity.weights import jax_fine_gpt, jax_gpt, torch_fine_gpt, torch_gpt

GREEDY = Settings(semantic_temperature=0, coarse_temperature=0, fine_temperature=0)
SAMPLED = Settings(semantic_top_p=0.95, min_eos_p=None, coarse_temperature=1.0, coarse_top_k=20)


class Size(NamedTuple):
    config: BarkConfig
    std: float  # of the weights: large enough that greedy decoding does not settle on a few tokens
    steps: int  # of the semantic stage
    tokens: int  # semantic ones, for the coarse stage: three steps for each
    distinct: int  # tokens of what is made, at least


SIZES = {
    "tiny": Size(BarkConfig.tiny(), 0.3, 320, 240, 30),
    "small": Size(BarkConfig.small(), 0.06, 100, 60, 10),
}


def tiny(*cases: object) -> list:
    return [pytest.param("tiny", case, id=f"tiny-{case}") for case in cases]


def tiny_and_small(*cases: object) -> list:
    return tiny(*cases) + [pytest.param("small", case, id=f"small-{case}", marks=pytest.mark.slow) for case in cases]


@pytest.fixture(scope="module")
def size(request: pytest.FixtureRequest) -> Size:
    return SIZES[request.param]


@pytest.fixture(scope="module")
def semantic(size: Size) -> tuple[BarkCausalModel, GPT]:
    model = torch_gpt(size.config.semantic.gpt, seed=1, std=size.std)
    return model, jax_gpt(model, size.config.semantic.gpt)


@pytest.fixture(scope="module")
def coarse(size: Size) -> tuple[BarkCausalModel, GPT]:
    model = torch_gpt(size.config.coarse.gpt, seed=2, std=size.std)
    return model, jax_gpt(model, size.config.coarse.gpt)


@pytest.fixture(scope="module")
def fine(size: Size) -> tuple[BarkFineModel, FineGPT]:
    model = torch_fine_gpt(size.config.fine.gpt, seed=3, std=size.std / 3)
    return model, jax_fine_gpt(model, size.config.fine.gpt)


def keys(batch: int) -> jax.Array:
    return jax.random.split(jax.random.key(0), batch)


def random_text(config: BarkConfig, length: int) -> np.ndarray:
    """WordPiece ids, without the offset."""
    return np.random.default_rng(length).integers(0, config.semantic.text_pad - config.semantic.text_offset, length)


def with_offset(config: BarkConfig, texts: list[np.ndarray]) -> list[np.ndarray]:
    """What the semantic stage takes: its callers have added the offset."""
    return [text + config.semantic.text_offset for text in texts]


def random_semantic(config: BarkConfig, length: int) -> np.ndarray:
    return np.random.default_rng(length).integers(0, config.semantic.vocab, length, np.int32)


def random_codes(config: BarkConfig, frames: int, codebooks: int = 8) -> np.ndarray:
    return np.random.default_rng(frames).integers(0, config.codec.codebook_size, (codebooks, frames), np.int32)


def random_voice(config: BarkConfig, semantic: int, frames: int) -> Voice:
    codes = random_codes(config, frames)
    return Voice(semantic=random_semantic(config, semantic), coarse=codes[:2], fine=codes)


def assert_equal(ours: np.ndarray, expected: reference.Decoded) -> None:
    message = f"the chosen logits lead by at least {expected.margins.min():.1e}"
    np.testing.assert_array_equal(ours, expected.tokens, err_msg=message)


def assert_varied(tokens: np.ndarray, distinct: int) -> None:
    """A comparison of constant sequences would prove little."""
    assert len(np.unique(tokens)) >= distinct


def drawing(key: jax.Array, settings: Settings, stage: str) -> reference.Choose:
    """Chooses with our sampler and one key per step, as a stage does for one item."""
    rules, steps = Sampling.of([settings], stage), itertools.count()
    draw = jax.jit(lambda step, logits: sample(fold_keys(key[None], step), logits[None], rules)[0])
    return lambda logits, _: int(draw(next(steps), logits))


@pytest.mark.parametrize(
    ("size", "history"), tiny_and_small(300) + tiny(None, 1, 255, 256, 257), indirect=["size"], scope="module"
)
def test_semantic(size: Size, semantic: tuple[BarkCausalModel, GPT], history: int | None) -> None:
    theirs, ours = semantic
    text = random_text(size.config, 20)
    voice = random_voice(size.config, history, 450) if history else None
    expected = reference.generate_semantic(theirs, size.config, text, voice, steps=size.steps, allow_early_stop=False)
    assert_varied(expected.tokens, size.distinct)

    settings = GREEDY.replace(allow_early_stop=False, max_seconds=(size.steps + 0.5) / size.config.semantic.rate_hz)
    texts = with_offset(size.config, [text])
    assert_equal(generate_semantic(ours, size.config, texts, keys(1), [settings], [voice])[0], expected)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_semantic_of_a_mixed_batch(size: Size, semantic: tuple[BarkCausalModel, GPT]) -> None:
    """Every item of a batch equals the reference's single run, with any texts and voices beside it."""
    theirs, ours = semantic
    voices = [None, random_voice(size.config, 40, 60), random_voice(size.config, 346, 519)]
    texts = [random_text(size.config, n) for n in (1, 30, 256)]
    settings = [GREEDY.replace(allow_early_stop=False)] * 3
    results = generate_semantic(ours, size.config, with_offset(size.config, texts), keys(3), settings, voices)
    for result, text, voice in zip(results, texts, voices, strict=True):
        assert_equal(result, reference.generate_semantic(theirs, size.config, text, voice, allow_early_stop=False))


@pytest.mark.parametrize("factor", [-1.5, -2.0, -3.0, -10.0])
def test_semantic_ends_with_the_end_of_sequence(factor: float) -> None:
    """The end's row of the head is scaled until greedy decoding meets it: later, sooner, or as the very first token."""
    config = SIZES["tiny"].config
    theirs = torch_gpt(config.semantic.gpt, seed=1, std=SIZES["tiny"].std)
    with torch.no_grad():
        theirs.lm_head.weight[config.semantic.pad] *= factor
    ours = jax_gpt(theirs, config.semantic.gpt)
    text = random_text(config, 20)
    expected = reference.generate_semantic(theirs, config, text)
    assert len(expected.tokens) < 768
    assert (len(expected.tokens) == 0) == (factor == -10)
    assert_equal(generate_semantic(ours, config, with_offset(config, [text]), keys(1), [GREEDY])[0], expected)


@pytest.mark.parametrize(
    ("size", "voice_length"),
    tiny_and_small((346, 519))
    + tiny(None, (2, 3), (12, 18), (100, 150), (208, 312), (210, 315), (211, 317), (213, 318))
    + tiny((315, 473), (341, 512), (353, 530), (534, 802)),
    indirect=["size"],
    scope="module",
)
def test_coarse(size: Size, coarse: tuple[BarkCausalModel, GPT], voice_length: tuple[int, int] | None) -> None:
    """Tiny: 720 steps, 12 windows; small: three. Voices around the longest history (209 semantic tokens), and with odd
    numbers of codes.
    """
    theirs, ours = coarse
    voice = random_voice(size.config, *voice_length) if voice_length else None
    tokens = random_semantic(size.config, size.tokens)
    expected = reference.generate_coarse(theirs, size.config, tokens, voice)
    assert expected.tokens.shape == (2, size.tokens * 3 // 2)
    assert_varied(expected.tokens, size.distinct)
    assert_equal(generate_coarse(ours, size.config, [tokens], keys(1), [GREEDY], [voice])[0], expected)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
@pytest.mark.parametrize("history", [60, 61, 629])
@pytest.mark.parametrize("voice_length", [None, (346, 519)])
def test_coarse_with_a_shorter_history(
    size: Size, coarse: tuple[BarkCausalModel, GPT], history: int, voice_length: tuple[int, int] | None
) -> None:
    theirs, ours = coarse
    voice = random_voice(size.config, *voice_length) if voice_length else None
    tokens = random_semantic(size.config, 100)
    expected = reference.generate_coarse(theirs, size.config, tokens, voice, max_history=history)
    settings = GREEDY.replace(coarse_history=history)
    assert_equal(generate_coarse(ours, size.config, [tokens], keys(1), [settings], [voice])[0], expected)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
@pytest.mark.parametrize(("window", "history"), [(20, 630), (138, 60), (21, 630), (59, 61), (1, 60)])
def test_coarse_with_another_window(size: Size, coarse: tuple[BarkCausalModel, GPT], window: int, history: int) -> None:
    theirs, ours = coarse
    rules = dataclasses.replace(size.config.coarse, window=window, max_history=history)
    config = dataclasses.replace(size.config, coarse=rules)
    tokens, voice = random_semantic(size.config, 50), random_voice(size.config, 346, 519)
    expected = reference.generate_coarse(theirs, config, tokens, voice, max_history=history, window=window)
    assert_equal(generate_coarse(ours, config, [tokens], keys(1), [GREEDY], [voice])[0], expected)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_coarse_of_a_mixed_batch(size: Size, coarse: tuple[BarkCausalModel, GPT]) -> None:
    """Every item of a batch equals the reference's single run, with any lengths and voices beside it."""
    theirs, ours = coarse
    lengths = [1, 19, 20, 21, 220, 300]
    voices = [None, random_voice(size.config, 40, 60), None, random_voice(size.config, 346, 519), None, None]
    batch = [random_semantic(size.config, n) for n in lengths]
    results = generate_coarse(ours, size.config, batch, keys(6), [GREEDY] * 6, voices)
    for result, tokens, voice in zip(results, batch, voices, strict=True):
        assert_equal(result, reference.generate_coarse(theirs, size.config, tokens, voice))


@pytest.mark.parametrize(
    ("size", "frames"),
    tiny_and_small((600, 512))
    + tiny(
        (1, 0),
        (700, 0),
        (1600, 0),
        (1024, 0),
        (1025, 0),
        (512, 600),
        (513, 600),
        (50, 10),
        (1529, 7),
        (1530, 7),
        (2049, 0),
        (2600, 0),
    )
    + tiny((200, 473), (200, 530), (200, 802), (1100, 473), (1100, 512)),
    indirect=["size"],
    scope="module",
)
def test_fine(size: Size, fine: tuple[BarkFineModel, FineGPT], frames: tuple[int, int]) -> None:
    """(new frames, frames of a voice): one to five windows, lengths where their number changes, published voices'.

    A code may differ where two logits tie within rounding, and nowhere else.
    """
    theirs, ours = fine
    voice = random_voice(size.config, 100, frames[1]) if frames[1] else None
    codes = random_codes(size.config, frames[0], codebooks=2)
    [result] = generate_fine(ours, size.config, [codes], keys(1), [GREEDY], [voice])
    choose = reference.GreedyUpToTies(result)
    expected = reference.generate_fine(theirs, size.config, codes, voice, choose=choose)
    assert_varied(expected.tokens[2:], 15 if frames[0] > 1 else 1)
    assert_equal(result, expected)
    assert len(choose.ties) <= 1e-4 * result.size  # expected: 1e-6


def test_only_ties_may_differ() -> None:
    choose = reference.GreedyUpToTies(np.array([1, 1, 2]))
    logits = np.array([0.0, 8.0, 8.00004, 7.999], np.float32)
    assert [choose(logits, (0,)), choose(logits, (2,)), choose(logits)] == [1, 2, 2]
    assert choose(logits + np.float32([0, -0.01, 0, 0]), (1,)) == 2
    assert choose.ties == [(0,)]


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
@pytest.mark.parametrize("given", [1, 3, 7])
def test_fine_from_other_numbers_of_codebooks(size: Size, fine: tuple[BarkFineModel, FineGPT], given: int) -> None:
    theirs, ours = fine
    codes, voice = random_codes(size.config, 520, codebooks=given), random_voice(size.config, 400, 600)
    expected = reference.generate_fine(theirs, size.config, codes, voice)
    result = generate_fine(ours, size.config, [codes], keys(1), [GREEDY], [voice])[0]
    assert_equal(result, expected)
    np.testing.assert_array_equal(result[:given], codes)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_fine_of_a_mixed_batch(size: Size, fine: tuple[BarkFineModel, FineGPT]) -> None:
    """Every item of a batch equals the reference's single run, with any lengths and voices beside it."""
    theirs, ours = fine
    voices = [None, random_voice(size.config, 40, 60), random_voice(size.config, 400, 600), None]
    batch = [random_codes(size.config, frames, codebooks=2) for frames in (3, 300, 1100, 1600)]
    results = generate_fine(ours, size.config, batch, keys(4), [GREEDY] * 4, voices)
    for result, codes, voice in zip(results, batch, voices, strict=True):
        assert_equal(result, reference.generate_fine(theirs, size.config, codes, voice))


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_sampled_semantic(size: Size, semantic: tuple[BarkCausalModel, GPT]) -> None:
    """With the same noise at every step, both sample the same tokens and end at the same one."""
    theirs, ours = semantic
    text = random_text(size.config, 20)
    choose = drawing(keys(1)[0], SAMPLED, "semantic")
    expected = reference.generate_semantic(theirs, size.config, text, choose=choose)
    assert_varied(expected.tokens, 50)
    texts = with_offset(size.config, [text])
    assert_equal(generate_semantic(ours, size.config, texts, keys(1), [SAMPLED])[0], expected)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_sampled_semantic_ends_when_the_end_is_probable(size: Size, semantic: tuple[BarkCausalModel, GPT]) -> None:
    """As probable as the threshold after all filters and the temperature, as in Suno's code."""
    theirs, ours = semantic
    text, settings = random_text(size.config, 20), Settings(semantic_top_k=50, min_eos_p=0.02)
    expected = reference.generate_semantic(
        theirs, size.config, text, choose=drawing(keys(1)[0], settings, "semantic"),
        ends=lambda logits: suno_probabilities(logits, 0.7, 50, None)[-1] >= 0.02,
    )  # fmt: skip
    texts = with_offset(size.config, [text])
    assert_equal(generate_semantic(ours, size.config, texts, keys(1), [settings])[0], expected)
    assert 0 < len(expected.tokens) < 768


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_sampled_coarse(size: Size, coarse: tuple[BarkCausalModel, GPT]) -> None:
    theirs, ours = coarse
    tokens, voice = random_semantic(size.config, 100), random_voice(size.config, 346, 519)
    choose = drawing(keys(1)[0], SAMPLED, "coarse")
    expected = reference.generate_coarse(theirs, size.config, tokens, voice, choose=choose)
    assert_varied(expected.tokens, 30)
    assert_equal(generate_coarse(ours, size.config, [tokens], keys(1), [SAMPLED], [voice])[0], expected)


@pytest.mark.parametrize("size", ["tiny"], indirect=True, scope="module")
def test_sampled_fine(size: Size, fine: tuple[BarkFineModel, FineGPT]) -> None:
    """The reference, fed what ours drew, finds it as probable as draws from its tempered distributions are."""
    theirs, ours = fine
    codes = random_codes(size.config, 1024, codebooks=2)  # one window without padding
    settings = Settings(fine_temperature=0.5)
    [drawn] = generate_fine(ours, size.config, [codes], keys(1), [settings])
    tokens = iter(drawn[2:].reshape(-1))
    excess, variance = [], []

    def follow(logits: np.ndarray, _: reference.Place) -> int:
        token = int(next(tokens))
        log_p = torch.log_softmax(torch.from_numpy(logits).double() / settings.fine_temperature, dim=0).numpy()
        mean = np.sum(np.exp(log_p) * log_p)
        excess.append(log_p[token] - mean)
        variance.append(np.sum(np.exp(log_p) * (log_p - mean) ** 2))
        return token

    assert_equal(drawn, reference.generate_fine(theirs, size.config, codes, choose=follow))
    assert abs(sum(excess)) < 4 * np.sqrt(sum(variance))
