"""Whose rows come next, and which batch sizes there are."""

from types import SimpleNamespace
from typing import Any

import pytest

from bark_jax.serving.batching import prepare
from bark_jax.serving.order import next_rows
from bark_jax.settings import Settings
from bark_jax.speech.performing import sizes_up_to

NOW = 100.0


class Text:
    """A ticket with some pieces to make."""

    def __init__(self, name: str, arrived: float, *, until: float | None = None, pieces: int = 3) -> None:
        self.name, self.arrived, self.plays_until, self.has_begun = name, arrived, until, until is not None
        self.performance = self
        self.pieces = pieces

    def rows(self, most: int) -> list[Any]:
        return [SimpleNamespace(text=self.name, piece=piece) for piece in range(self.pieces)][:most]


def order(*texts: Text, most: int = 4) -> list[str]:
    return [row.text for row in next_rows(texts, most, NOW, 2.0)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([Text("playing", 1, until=150), Text("new", 99)], "new"),  # first pieces before later ones
        ([Text("playing", 1, until=101), Text("new", 99)], "playing"),  # unless the audio would run out
        ([Text("silent", 1, until=99), Text("new", 99)], "new"),  # where it has, it is too late
        ([Text("late", 99), Text("early", 98)], "early"),
        ([Text("long", 1, until=160), Text("short", 2, until=140)], "short"),
    ],
)
def test_who_goes_first(texts: list[Text], expected: str) -> None:
    assert order(*texts, most=1) == [expected]


def test_first_pieces_that_were_passed_over_come_next() -> None:
    texts: Any = [Text("playing", 1, until=101), Text("new", 99)]
    assert [row.text for row in next_rows(texts, 1, NOW, 0.0)] == ["new"]


def test_each_gets_a_piece_before_any_gets_two() -> None:
    assert order(Text("a", 1), Text("b", 2), Text("c", 3)) == ["a", "b", "c", "a"]
    assert order(Text("a", 1)) == ["a", "a", "a"]
    assert order() == []


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (16, [1, 2, 4, 8, 16])])
def test_sizes(most: int, sizes: list[int]) -> None:
    assert sizes_up_to(most) == sizes


def test_a_cpu_compiles_what_it_gains_from(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {1: 1.0, 2: 0.6, 4: 0.5, 8: 0.49, 16: 0.1}
    compiled: list[int] = []
    engine: Any = SimpleNamespace(policy=SimpleNamespace(platform="cpu"))
    engine.warm_up = lambda size, settings, scores: compiled.append(size)
    monkeypatch.setattr("bark_jax.serving.batching._cost_of_row", lambda engine, settings, size: costs[size])
    assert prepare(engine, Settings(), None) == [1, 2, 4]
    assert compiled == [1, 2, 4, 8]
    assert prepare(engine, Settings(), 8) == [1, 2, 4, 8]
    engine.policy.platform = "gpu"
    assert prepare(engine, Settings(), None) == [1, 2, 4, 8, 16]
