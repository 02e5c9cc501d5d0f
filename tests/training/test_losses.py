"""Losses see what generation lays out: every greedy choice of a stage is the most probable target of its loss."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_jax import Voice
from bark_jax.inputs import TokenError
from bark_jax.models.attention import KVCache
from bark_jax.models.gpt import GPT
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.coarse_plan import coarse_steps
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.scoring import all_logits
from bark_jax.stages.semantic import generate_semantic, prompt
from bark_jax.training import (
    SemanticBatch,
    TrainingError,
    coarse_examples,
    fine_example,
    sample_coarse,
    sample_fine,
    sample_waveform,
    semantic_example,
    stack,
)
from bark_jax.training.losses import coarse_logits, coarse_loss, fine_logits, fine_loss, semantic_loss
from bark_jax.voices.voice import VoiceError

from small import CONFIG, GREEDY, networks, random_batch, random_clip, random_text

LOSSES = {"semantic": semantic_loss, "coarse": coarse_loss, "fine": fine_loss}
JITTED = {stage: jax.jit(loss, static_argnums=1) for stage, loss in LOSSES.items()}
SEMANTIC_LOGITS, COARSE_LOGITS, FINE_LOGITS = (
    jax.jit(logits, static_argnums=1) for logits in (all_logits, coarse_logits, fine_logits)
)
KEYS = jax.random.split(jax.random.key(0), 1)
NETWORKS = networks(scale=15)
VOICES = {"alone": None, "short voice": random_clip(6), "long voice": random_clip(40)}


@pytest.fixture(params=VOICES.values(), ids=VOICES)
def voice(request: pytest.FixtureRequest) -> Voice | None:
    return request.param


@partial(jax.jit, static_argnums=2)
def cached_logits(gpt: GPT, x: jax.Array, prompt: int) -> jax.Array:
    """Embeddings [T, C], the first `prompt` of them as a prompt, the others fed one by one → logits [T − prompt, V]."""
    start = jnp.zeros(1, jnp.int32)

    def step(cache: KVCache, fed: tuple[jax.Array, jax.Array]) -> tuple[KVCache, jax.Array]:
        hidden, cache = gpt.step(fed[0][None], cache, fed[1], start)
        return cache, gpt.logits(hidden)[0]

    fed = x[prompt:], jnp.arange(prompt, len(x))
    return jax.lax.scan(step, gpt.prefill(x[None, :prompt], start, len(x)), fed)[1]


def stack_whole(example: SemanticBatch) -> SemanticBatch:
    """A batch of one, with all its padding."""
    return SemanticBatch(*(column[None] for column in example))


def semantic_logits(example: SemanticBatch) -> jax.Array:
    """What the loss computes of one example, [max_new, vocab + 1]."""
    batch = stack_whole(example)
    return SEMANTIC_LOGITS(NETWORKS["semantic"], CONFIG.semantic, batch.text, batch.history, batch.targets)[0]


def test_semantic_targets_are_what_generation_chooses(voice: Voice | None) -> None:
    text, endless = random_text(9), [GREEDY.replace(allow_early_stop=False)]
    [tokens] = generate_semantic(NETWORKS["semantic"], CONFIG, [text], KEYS, endless, [voice])
    assert len(np.unique(tokens)) > 10
    logits = semantic_logits(semantic_example(CONFIG, text, tokens, voice))
    np.testing.assert_array_equal(logits[:, : CONFIG.semantic.vocab].argmax(axis=1), tokens)


def test_semantic_logits_are_those_of_cached_steps(voice: Voice | None) -> None:
    rules, gpt = CONFIG.semantic, NETWORKS["semantic"]
    example = semantic_example(CONFIG, random_text(9), random_clip(30).semantic, voice)
    fed = np.append(rules.infer, example.targets[:-1])
    x = jnp.concatenate([prompt(gpt, example.text, example.history), gpt.embed(fed)])
    expected, logits = cached_logits(gpt, x, rules.max_text), semantic_logits(example)
    np.testing.assert_allclose(logits[:, : rules.vocab], expected[:, : rules.vocab], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits[:, rules.vocab], expected[:, rules.pad], rtol=1e-4, atol=1e-4)


def test_the_end_of_sequence_is_learned_where_there_is_room_for_it() -> None:
    rules = CONFIG.semantic
    short = semantic_example(CONFIG, random_text(3), random_clip(7).semantic)
    assert short.learned == 8
    assert short.targets[7] == rules.pad
    longest = semantic_example(CONFIG, random_text(3), random_clip(rules.max_new).semantic)
    assert longest.learned == rules.max_new
    assert (longest.targets < rules.vocab).all()


def test_coarse_targets_are_what_generation_chooses(voice: Voice | None) -> None:
    """Over the whole of a clip longer than its windows' prompts, each of its tokens once."""
    semantic, gpt = random_clip(40).semantic, NETWORKS["coarse"]
    [codes] = generate_coarse(gpt, CONFIG, [semantic], KEYS, [GREEDY], [voice])
    assert len(np.unique(codes)) > 10
    clip = Voice(semantic=semantic, coarse=codes, fine=np.vstack([codes] * 4))
    examples = coarse_examples(CONFIG, clip, voice)
    choices = COARSE_LOGITS(gpt, CONFIG, stack(examples)).argmax(axis=-1)
    begins = [example.first - 1 for example in examples]  # logits are of all tokens but the first
    chosen = [row[b : b + e.learned] for row, b, e in zip(choices, begins, examples, strict=True)]
    assert len(examples) > 3
    np.testing.assert_array_equal(np.concatenate(chosen), codes.T.reshape(-1))
    assert sum(e.learned for e in examples) == coarse_steps(CONFIG, len(semantic))


def test_coarse_logits_are_those_of_cached_steps(voice: Voice | None) -> None:
    gpt, size, first_id = NETWORKS["coarse"], CONFIG.codec.codebook_size, CONFIG.semantic.vocab
    for example in coarse_examples(CONFIG, random_clip(40), voice)[:2]:
        expected = cached_logits(gpt, gpt.embed(example.tokens[:-1]), CONFIG.coarse.max_semantic)
        expected = expected[example.first - 1 - CONFIG.coarse.max_semantic :][: example.learned]
        logits = COARSE_LOGITS(gpt, CONFIG, stack([example]))[0, example.first - 1 :][: example.learned]
        for turn in range(2):
            allowed = slice(first_id + turn * size, first_id + (turn + 1) * size)
            np.testing.assert_allclose(logits[turn::2], expected[turn::2, allowed], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("full", [False, True])
def test_fine_targets_are_what_generation_chooses(voice: Voice | None, full: bool) -> None:
    """Behind a known prefix, if any, in a window that the clip fills and in one with pads behind the clip."""
    model, size = NETWORKS["fine"], CONFIG.codec.codebook_size
    known = min(voice.fine.shape[1], CONFIG.fine.max_history) if voice else 0
    frames = CONFIG.fine.gpt.block_size - known if full else 20
    coarse = np.random.default_rng(frames).integers(0, size, (2, frames), np.int32)
    [codes] = generate_fine(model, CONFIG, [coarse], KEYS, [GREEDY], [voice])
    assert len(np.unique(codes[2:])) > 5
    both = np.hstack([voice.fine[:, -known:], codes]) if voice else codes
    new = slice(known, known + frames)
    guesses = np.zeros((8, CONFIG.fine.gpt.block_size), np.int32)
    for codebook in range(2, 8):
        example = fine_example(CONFIG, both, codebook=codebook, start=0, known=known, beyond=guesses)
        guesses[codebook] = FINE_LOGITS(model, CONFIG, stack([example]))[0].argmax(axis=-1)
        np.testing.assert_array_equal(guesses[codebook, new], codes[codebook])


@pytest.mark.parametrize("stage", LOSSES)
def test_nothing_is_learned_from_padding(stage: str) -> None:
    loss, network, batch = JITTED[stage], NETWORKS[stage], random_batch(stage)
    expected = loss(network, CONFIG, batch)
    examples = [type(batch)(*row) for row in zip(*batch, strict=True)]
    filled = loss(network, CONFIG, stack(examples, rows=6))
    assert float(filled.total) == pytest.approx(float(expected.total), rel=1e-5)
    assert float(filled.terms) == float(expected.terms) == sum(batch.learned)
    alone = sum(float(loss(network, CONFIG, stack([example])).total) for example in examples)
    assert alone == pytest.approx(float(expected.total), rel=1e-5)


def test_batches_end_with_their_longest_row() -> None:
    examples = [semantic_example(CONFIG, random_text(5), random_clip(tokens).semantic) for tokens in (6, 40)]
    short, long = stack(examples[:1]), stack(examples)
    assert (short.targets.shape[1], long.targets.shape[1]) == (32, CONFIG.semantic.max_new)
    alone, padded = (
        JITTED["semantic"](NETWORKS["semantic"], CONFIG, batch).total for batch in (short, stack_whole(examples[0]))
    )
    assert float(alone) == pytest.approx(float(padded), rel=1e-5)
    coarse = [coarse_examples(CONFIG, random_clip(tokens))[0] for tokens in (6, 20)]
    assert [stack([example]).tokens.shape[1] for example in coarse] == [64, len(coarse[0].tokens)]


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_what_follows_the_targets_changes_nothing(stage: str) -> None:
    loss, batch = JITTED[stage], random_batch(stage)
    field, last = ("targets", batch.learned) if stage == "semantic" else ("tokens", batch.first + batch.learned)
    tokens = getattr(batch, field)
    junk = np.where(np.arange(tokens.shape[1]) < last[:, None], tokens, np.int32(7))
    changed = loss(NETWORKS[stage], CONFIG, batch._replace(**{field: junk}))
    assert float(changed.total) == pytest.approx(float(loss(NETWORKS[stage], CONFIG, batch).total), rel=1e-6)


def test_a_uniform_network_loses_the_logarithm_of_its_choices() -> None:
    """Choices are the ids that generation draws from, and no others."""
    flat, size = networks(scale=0), CONFIG.codec.codebook_size
    for stage, choices in (("semantic", CONFIG.semantic.vocab + 1), ("coarse", size), ("fine", size)):
        loss = JITTED[stage](flat[stage], CONFIG, random_batch(stage))
        np.testing.assert_allclose(loss.mean, np.log(choices), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40).map(lambda half: 2 * half), st.integers(0, 2**32 - 1))
def test_sampled_windows_are_windows_of_the_clip(tokens: int, seed: int) -> None:
    clip = random_clip(tokens)
    fine = sample_fine(CONFIG, clip, np.random.default_rng(seed))
    known, end = int(fine.first), int(fine.first + fine.learned)
    assert 0 <= known <= CONFIG.fine.max_history
    assert known < end <= CONFIG.fine.gpt.block_size
    starts = range(max(1, clip.fine.shape[1] - CONFIG.fine.gpt.block_size + 1))
    start = next(s for s in starts if np.array_equal(clip.fine[fine.codebook, s : s + end], fine.targets[:end]))
    np.testing.assert_array_equal(fine.codes[:, :known], clip.fine[:, start : start + known])
    np.testing.assert_array_equal(fine.codes[: fine.codebook, :end], clip.fine[: fine.codebook, start : start + end])
    assert (fine.codes[fine.codebook :, known:] == CONFIG.fine.pad).all()
    assert (fine.codes[:2, end:] == CONFIG.fine.pad).all()
    assert (fine.codes[2 : fine.codebook, end:] < CONFIG.codec.codebook_size).all()

    coarse = sample_coarse(CONFIG, clip, np.random.default_rng(seed))
    assert coarse.tokens[CONFIG.coarse.max_semantic] == CONFIG.coarse.infer
    assert coarse.first == CONFIG.coarse.max_semantic + 1
    codes = coarse.tokens[coarse.first :] - CONFIG.semantic.vocab
    assert (codes[: coarse.learned] // CONFIG.codec.codebook_size == np.arange(coarse.learned) % 2).all()
    assert (codes[coarse.learned :] == CONFIG.coarse.semantic_pad - CONFIG.semantic.vocab).all()
    for sample in (sample_fine, sample_coarse):
        again = [sample(CONFIG, clip, np.random.default_rng(seed)) for _ in range(2)]
        for a, b in zip(*again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_stretch_of_a_waveform() -> None:
    rng, waveform = np.random.default_rng(0), np.arange(1, 101, dtype=np.float32)
    np.testing.assert_array_equal(sample_waveform(waveform, 120, rng).waveform, np.append(waveform, np.zeros(20)))
    begins = {int(sample_waveform(waveform, 98, rng).waveform[0]) for _ in range(50)}
    assert begins == {1, 2, 3}


def semantic_of(tokens: Any = (1, 2), text: int = 3) -> object:
    return semantic_example(CONFIG, random_text(text), np.asarray(tokens))


def fine_of(**changes: int) -> Any:
    return fine_example(CONFIG, random_clip(10).fine, **({"codebook": 2, "start": 0, "known": 0} | changes))


def foreign_clip() -> Voice:
    return Voice(semantic=np.array([999, 1]), coarse=np.zeros((2, 3), int), fine=np.zeros((8, 3), int))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: semantic_of(np.zeros(0, int)), TrainingError, "0 semantic tokens, the model takes 1 … 48"),
        (lambda: semantic_of(np.zeros(49, int)), TrainingError, "49 semantic tokens"),
        (lambda: semantic_of(text=25), TrainingError, "25 text ids"),
        (lambda: semantic_of([200]), TokenError, "0 … 199"),
        (lambda: semantic_of([0.5]), TokenError, "must be integers"),
        (lambda: coarse_examples(CONFIG, foreign_clip()), VoiceError, "semantic holds 999"),
        (lambda: sample_fine(CONFIG, foreign_clip(), np.random.default_rng(0)), VoiceError, "semantic holds 999"),
        (lambda: fine_of(known=15), TrainingError, "nothing to learn of 15 frames"),
        (lambda: fine_of(codebook=1), TrainingError, "codebook 1"),
        (lambda: fine_of(start=-1), TrainingError, "start -1"),
        (lambda: stack([]), TrainingError, "0 examples"),
        (lambda: stack([fine_of()] * 3, rows=2), TrainingError, "3 examples cannot be a batch of 2 rows"),
        (lambda: sample_waveform(np.array([np.nan]), 9, np.random.default_rng(0)), TrainingError, "finite"),
        (lambda: sample_waveform(np.zeros((2, 9)), 9, np.random.default_rng(0)), TrainingError, r"\[2, 9\]"),
    ],
)
def test_bad_clips_are_refused(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
