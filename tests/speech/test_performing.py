"""Texts spoken side by side are what each is alone, in any company."""

from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Settings
from bark_jax.speech.performing import Performance, Row, speak_rows
from bark_jax.speech.planning import plan

SHORT = Settings(max_seconds=0.4, min_eos_p=None)
TEXTS: list[tuple[str, dict[str, Any]]] = [
    ("One. [pause 0.1] Two is longer. [pause 0] Three.", {"seed": 1}),
    ("Alone.", {"seed": 2}),
    ("One. [pause 0.1] Two.", {"seed": 3, "keep_voice": "rolling"}),
    ("One. [pause 0.1] Two.", {"seed": 4, "best_of": 3}),
]


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


def perform(bark: Bark, text: str, options: dict[str, Any]) -> Performance:
    given = dict(options)
    return Performance(bark.engine, plan(bark.frontend, text, None, {}, given.pop("seed"), SHORT, given))


@pytest.mark.io
def test_texts_side_by_side_are_what_they_are_alone(bark: Bark) -> None:
    performances = [perform(bark, text, options) for text, options in TEXTS]
    heard: dict[int, list[np.ndarray]] = {id(p): [] for p in performances}
    while unfinished := [p for p in performances if not p.finished]:
        rows = [row for p in reversed(unfinished) for row in p.rows(4)][:4]
        for row, tokens in speak_rows(bark.engine, rows, (1, 4)):
            row.performance.take(row, tokens)
        for p in unfinished:
            heard[id(p)] += [part.samples for part in p.parts()]
    for p, (text, options) in zip(performances, TEXTS, strict=True):
        alone = bark.speak(text, settings=SHORT, **options)
        np.testing.assert_array_equal(np.concatenate(heard[id(p)]), alone.waveform)
        assert tuple(p.pieces) == alone.pieces


def test_a_piece_whose_voice_is_not_known_yet_waits(bark: Bark) -> None:
    text = "One. [pause 0.1] Two. [pause 0.1] Three."
    assert [row.piece for row in perform(bark, text, {"seed": 1, "keep_voice": "rolling"}).rows(4)] == [0]
    assert [(row.piece, row.number) for row in perform(bark, "One.", {"seed": 1, "best_of": 2}).rows(4)] == [
        (0, 0), (0, 1)
    ]  # fmt: skip


class Leaver:
    """An engine that runs nothing; a text is abandoned while its first stage runs."""

    def __init__(self, leaving: list[Performance]) -> None:
        self.leaving = leaving
        self.sizes: list[tuple[str, int]] = []

    def run(self, stage: str, inputs: list[np.ndarray], options: Any, check: Any) -> list[np.ndarray]:
        self.sizes.append((stage, len(inputs)))
        for p in self.leaving:
            p.abandoned = True
        check(1, 2)
        return [np.zeros(1, np.int32)] * len(inputs)


def rows_of(performances: list[Performance]) -> list[Row]:
    return [row for p in performances for row in p.rows(4)]


def test_what_nobody_wants_is_dropped_at_the_next_stage(bark: Bark) -> None:
    performances = [perform(bark, "One.", {"seed": seed}) for seed in range(3)]
    engine: Any = Leaver(performances[:2])
    made = speak_rows(engine, rows_of(performances), (1, 2, 4))
    assert [row.performance for row, _ in made] == performances[2:]
    assert engine.sizes == [("semantic", 4), ("coarse", 1), ("fine", 1)]


def test_work_that_nobody_wants_ends_within_its_stage(bark: Bark) -> None:
    performances = [perform(bark, "One.", {"seed": seed}) for seed in range(2)]
    engine: Any = Leaver(performances)
    assert speak_rows(engine, rows_of(performances), (1, 2)) == []
    assert engine.sizes == [("semantic", 2)]
    assert speak_rows(engine, rows_of(performances), (1, 2)) == []
    assert engine.sizes == [("semantic", 2)]
