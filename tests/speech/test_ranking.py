"""The score of a take: its terms against plain computations."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, cast

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Settings, Voice
from bark_jax.engine import Engine
from bark_jax.generation import EmptyGeneration, Tokens
from bark_jax.inputs import Options, derive_seed
from bark_jax.settings import SettingsError
from bark_jax.speech.ranking import best_take, clipping_share, silence_share
from bark_jax.speech.spoken import Score
from bark_jax.stages.semantic import prompt, prompt_rows
from bark_jax.text import encode_text

SHORT: dict[str, Any] = {"max_seconds": 1, "min_eos_p": None}
GOOD = Score(seed=0, log_probability=-3.0, silence=0.1, clipping=0.001)


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def voice(bark: Bark) -> Voice:
    return bark.generate("A voice.", seed=5, max_seconds=1, allow_early_stop=False).as_voice()


def step_by_step(bark: Bark, text: str, tokens: np.ndarray, voice: Voice | None) -> float:
    """The mean log-probability, by a cache that is fed token by token."""
    gpt, rules = bark.semantic, bark.config.semantic
    x = prompt(gpt, *prompt_rows(rules, [encode_text(bark.tokenizer, text, rules)], [voice]))
    start = np.zeros(1, np.int32)
    cache = gpt.prefill(x, start, rules.max_text + len(tokens))
    step, total = jax.jit(type(gpt).step), 0.0
    for position, (fed, chosen) in enumerate(zip([rules.infer, *tokens], tokens, strict=False)):
        hidden, cache = step(gpt, gpt.embed(np.array([fed])), cache, np.int32(rules.max_text + position), start)
        logits = np.asarray(gpt.logits(hidden)[0], np.float64)
        allowed = np.append(logits[: rules.vocab], logits[rules.pad])
        total += logits[chosen] - np.log(np.exp(allowed).sum())
    return total / len(tokens)


def test_the_log_probability_is_that_of_decoding_step_by_step(bark: Bark, voice: Voice) -> None:
    rules, rng = bark.config.semantic, np.random.default_rng(0)
    items = [("Hello", 1, None), ("Hello, my dog.", 40, voice), ("Hi", 0, None)]
    tokens = [rng.integers(0, rules.vocab, length).astype(np.int32) for _, length, _ in items]
    ids = [encode_text(bark.tokenizer, text, rules) for text, _, _ in items]
    options = [Options(voice=voice, seed=0, settings=Settings()) for _, _, voice in items]
    *scores, of_nothing = bark.engine.score_semantic(ids, tokens, options)
    expected = [step_by_step(bark, text, own, v) for (text, _, v), own in zip(items[:2], tokens, strict=False)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert of_nothing is None


def test_the_longest_clip_can_be_scored(bark: Bark) -> None:
    rules = bark.config.semantic
    tokens = np.zeros(rules.max_new, np.int32)
    (score,) = bark.engine.score_semantic(
        [np.array([rules.text_offset])], [tokens], [bark.frontend.options(None, 0, None)]
    )
    assert score is not None
    assert score < 0


def test_shares() -> None:
    rate, loud, quiet = 24_000, np.full(18_000, 0.5, np.float32), np.zeros(6_000, np.float32)
    assert silence_share(np.concatenate([quiet, loud]), rate) == 0.25
    assert silence_share(loud[:100], rate) == silence_share(loud[:0], rate) == clipping_share(loud[:0]) == 0
    assert clipping_share(np.array([0.5, 1, -1, -2], np.float32)) == 0.75


@pytest.mark.parametrize("worse", [{"log_probability": -3.1}, {"silence": 0.2}, {"clipping": 0.01}])
def test_every_term_counts(worse: dict[str, float]) -> None:
    assert GOOD.total == pytest.approx(-3.0 - 0.2 - 0.05)
    assert dataclasses.replace(GOOD, **worse).total < GOOD.total
    assert dataclasses.replace(GOOD, log_probability=None).total == -math.inf


def test_the_best_take_is_the_one_its_seed_gives_alone(bark: Bark, voice: Voice) -> None:
    ranked = bark.best_of("Hello", 3, voice, seed=7, keep_all=True, **SHORT)
    totals = [score.total for score in ranked.scores]
    assert totals == sorted(totals, reverse=True)
    assert {score.seed for score in ranked.scores} == {derive_seed(7, 0, take) for take in range(3)}
    assert [clip.seed for clip in ranked.generations] == [score.seed for score in ranked.scores]
    alone = bark.generate("Hello", voice, seed=ranked.best.seed, **SHORT)
    np.testing.assert_array_equal(alone.fine, ranked.best.fine)
    only = bark.best_of("Hello", 3, voice, seed=7, **SHORT)
    assert only.scores == ranked.scores
    assert [clip.seed for clip in only.generations] == [ranked.best.seed]


def test_only_if_all_takes_are_empty_there_is_nothing_to_hear(bark: Bark) -> None:
    with pytest.warns(EmptyGeneration, match="all 3 takes"):
        ranked = bark.best_of("Hello", 3, seed=0, min_eos_p=1e-9)
    assert ranked.best.seconds == 0
    assert {score.total for score in ranked.scores} == {-math.inf}


class Takes:
    """An engine of takes that are made already: how probable each is, and its audio."""

    def __init__(self, takes: list[tuple[float | None, float]]) -> None:
        self.config = BarkConfig.tiny()
        self.probabilities = [probability for probability, _ in takes]
        self.silence = [silence for _, silence in takes]
        self.decoded: list[int] = []

    def score_semantic(self, ids: Any, semantic: Any, options: Any) -> list[float | None]:
        return [self.probabilities[int(own[0])] for own in semantic]

    def decode_pieces(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        take = int(codes[0, 0])
        self.decoded.append(take)
        samples = np.full(24_000, 0.5, np.float32)
        samples[: round(self.silence[take] * 24_000)] = 0
        return iter(np.split(samples, 4))


def choose(takes: Takes, rows: int = 2) -> tuple[int, Score, list[np.ndarray]]:
    count = len(takes.silence)
    tokens = [Tokens(np.array([i]), np.full((2, 1), i), np.full((8, 1), i)) for i in range(count)]
    options = [Options(voice=None, seed=i, settings=Settings()) for i in range(count)]
    return best_take(cast(Engine, takes), [np.zeros(1, np.int32)] * count, options, tokens, rows)


def test_the_best_take_is_found_without_decoding_those_that_cannot_win() -> None:
    rng = np.random.default_rng(0)
    spared = 0
    for count in rng.integers(1, 7, size=60):
        takes = Takes(
            [(rng.choice([None, -3.0, -2.5, *rng.uniform(-4, -2, 3)]), s) for s in rng.choice([0, 0.1, 0.5], count)]
        )
        take, score, samples = choose(takes)
        totals = [
            -math.inf if p is None else p - 2 * s for p, s in zip(takes.probabilities, takes.silence, strict=True)
        ]
        assert take == totals.index(max(totals)), "of equals the earlier one"
        assert score.total == pytest.approx(max(totals), abs=0.03)
        assert sum(map(len, samples)) == 24_000
        assert len(set(takes.decoded)) == len(takes.decoded), "nothing is decoded twice"
        spared += count - len(takes.decoded)
    assert spared > 30


@pytest.mark.parametrize("n", [0, 1.5, True])
def test_a_bad_number_of_takes_is_named(bark: Bark, n: Any) -> None:
    with pytest.raises(SettingsError, match="n must be"):
        bark.best_of("Hello", n)
