"""Pieces joined as they arrive: lengths exact, silence bounded, no clicks."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_jax.settings import SettingsError
from bark_jax.speech.joining import Join, Joiner, loud_windows

RATE = 8000
WINDOW = RATE // 100
JOIN = Join(keep=0.03, fade=0.01)

Piece = tuple[np.ndarray, float]  # samples, and the pause after them


def tone(samples: int, hertz: float = 200, amplitude: float = 0.5) -> np.ndarray:
    """Begins at its peak, where a hard cut would click most."""
    return (amplitude * np.cos(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def silence(samples: int) -> np.ndarray:
    return np.full(samples, 1e-4, np.float32)  # not quite


def join(
    pieces: Sequence[Piece], rules: Join = JOIN, lead: float = 0.0, chunk: int = 500
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The joined waveform, and where each piece lies in it, of samples that arrive in chunks."""
    joiner, out, spans = Joiner(rules, RATE, lead), [], []
    for samples, pause in pieces:
        out += [joiner.push(samples[i : i + chunk]) for i in range(0, len(samples), chunk)]
        end, span = joiner.end_piece(pause)
        out.append(end)
        spans.append(span)
    return np.concatenate([*out, joiner.finish()]), spans


def trim(samples: np.ndarray, keep: int) -> np.ndarray:
    """What is left of a piece: the rule, applied to all of it at once."""
    padded = np.pad(samples, (0, -len(samples) % WINDOW))
    loud = np.flatnonzero(loud_windows(padded, RATE))
    if not len(loud):
        return samples[max(0, len(samples) - keep) :]
    return samples[max(0, loud[0] * WINDOW - keep) : (loud[-1] + 1) * WINDOW + keep]


@st.composite
def spoken(draw: st.DrawFn) -> Piece:
    """Noise and silence by turns, often shorter than a window or a fade, and perhaps nothing at all."""
    lengths = draw(st.lists(st.integers(1, 700), max_size=5))
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    loud = draw(st.booleans())
    parts = [
        noise.uniform(-0.5, 0.5, n).astype(np.float32) if i % 2 == loud else silence(n) for i, n in enumerate(lengths)
    ]
    pause = draw(st.sampled_from([0.0, 0.005, 0.1]))
    return np.concatenate([np.zeros(0, np.float32), *parts]), pause


@settings(deadline=None)
@given(
    st.lists(spoken(), max_size=5), st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 0.002, 0.01, 0.05]),
    st.sampled_from([0.0, 0.001, 0.03]), st.integers(1, 900),
)  # fmt: skip
def test_lengths_are_exact_and_chunks_change_nothing(
    pieces: list[Piece], lead: float, fade: float, keep: float, chunk: int
) -> None:
    rules = Join(fade=fade, keep=keep)
    joined, spans = join(pieces, rules, lead, chunk)
    whole, same_spans = join(pieces, rules, lead, chunk=10**6)
    np.testing.assert_array_equal(joined, whole)
    assert spans == same_spans

    trimmed = [trim(samples, round(keep * RATE)) for samples, _ in pieces]
    assert [last - first for first, last in spans] == [len(t) for t in trimmed]
    gap, end, tail = round(lead * RATE), 0, 0  # tail: what the next piece may overlap with
    for samples, (_, pause), (first, last) in zip(trimmed, pieces, spans, strict=True):
        pause_samples = round(pause * RATE)
        if not len(samples):
            gap = max(gap, pause_samples)
            continue
        faded = min(round(fade * RATE), len(samples) // 2)
        assert first == end + gap - (0 if gap else min(faded, tail))
        inner = slice(faded, len(samples) - faded)
        np.testing.assert_array_equal(joined[first:last][inner], samples[inner])
        gap, end, tail = pause_samples, last, faded
    assert len(joined) == end + gap


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.2])
def test_no_join_clicks(pause: float) -> None:
    """No step between two samples is larger than those inside the tones, which are cut off anywhere.

    (But for what two tones add up to in the middle of a cross-fade.)
    """
    tones = [tone(n, hertz) for n, hertz in ((3001, 200), (2777, 170), (3333, 230))]
    joined, _ = join([(t, pause) for t in tones])
    inside = max(np.abs(np.diff(t)).max() for t in tones)
    padded = np.pad(joined, 1)  # its beginning and end are joins with silence
    assert np.abs(np.diff(padded)).max() <= inside * (1 if pause else 1.01)
    hard = np.concatenate([np.zeros(1), *tones, np.zeros(1)])
    assert np.abs(np.diff(hard)).max() > 2 * inside, "tones that do not click when they are simply put together"


def test_silence_is_bounded() -> None:
    pieces = [(np.concatenate([silence(before), tone(1600), silence(after)]), 0.1) for before, after in
              itertools.product((0, 100, 8000), repeat=2)]  # fmt: skip
    joined, _ = join(pieces, lead=0.05)
    loud = np.flatnonzero(np.abs(joined) > 0.01)
    longest = np.diff(np.concatenate([[0], loud, [len(joined)]])).max() / RATE
    windows = 2 * 0.01  # a window is silent or not as a whole
    assert 0.1 <= longest <= 0.1 + 2 * JOIN.keep + windows


def test_silence_inside_a_piece_stays() -> None:
    piece = np.concatenate([tone(1600), silence(4000), tone(1600)])
    assert len(join([(piece, 0.0)])[0]) == len(piece)


def test_a_cross_fade_overlaps_and_keeps_the_level() -> None:
    steady = np.full(1600, 0.5, np.float32)
    joined, ((_, first_end), (second, _)) = join([(steady, 0.0), (steady, 0.0)])
    assert first_end - second == round(JOIN.fade * RATE)
    np.testing.assert_allclose(joined[100:-100], 0.5, rtol=1e-6)


def test_samples_are_let_go_of_early() -> None:
    joiner = Joiner(JOIN, RATE, lead=0.5)
    first = joiner.push(tone(WINDOW * 10))
    assert len(first) == RATE // 2 + WINDOW * 10 - round(JOIN.fade * RATE)
    assert len(joiner.push(tone(WINDOW * 10))) == WINDOW * 10
    assert not len(joiner.push(silence(WINDOW * 10))), "the end may have come"
    assert len(joiner.push(tone(WINDOW))) == WINDOW * 11


@pytest.mark.parametrize(
    ("field", "value"),
    [("fade", -0.1), ("fade", 2), ("fade", True), ("keep", float("nan")), ("keep", "1"), ("silence_db", 3)],
)
def test_bad_rules_are_named(field: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{field} must be"):
        Join(**{field: value})
