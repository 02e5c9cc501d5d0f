"""The stretch of a recording that becomes a voice: trimmed, ending between words, at a level.

Axes: N samples, F frames of 20 ms.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bark_jax.hearing.measuring import FRAME, PAUSE, Measurements

SHORTEST, LONGEST = 5.0, 12.0  # seconds, where the recording has as much
AROUND = 0.1  # seconds of pause that are kept before and after
LEVEL = -20.0  # dBFS of the speech: the root mean square of its active frames
_PEAK = 0.95  # that no sample exceeds
_WANTED = 9.0  # seconds, if there is a choice

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """A part of a recording."""

    start: float  # seconds
    end: float
    between_words: bool  # whether it ends in a pause

    def cut(self, waveform: Floats, sample_rate: int) -> Floats:
        """Its samples."""
        return waveform[round(self.start * sample_rate) : round(self.end * sample_rate)]


def choose_stretch(found: Measurements) -> Stretch:
    """The part that has most speech and fewest soft frames, near to `_WANTED` seconds, from pause to pause."""
    begins, ends = _words(found.active)
    if not len(begins):
        return Stretch(0.0, len(found.active) * FRAME, False)
    around, total = round(AROUND / FRAME), len(found.active)
    whole = (int(begins[0]), int(ends[-1]))
    if (whole[1] - whole[0]) * FRAME <= LONGEST:
        return _padded(*whole, around, total, True)
    speech = np.concatenate([[0], np.cumsum(found.active)])
    spans = [(int(b), int(e)) for b in begins for e in ends[(ends > b)] if SHORTEST <= (e - b) * FRAME <= LONGEST]
    if not spans:  # nobody pauses: to the softest frame
        first = whole[0]
        room = found.levels[first + round(SHORTEST / FRAME) : first + round(LONGEST / FRAME)]
        return _padded(first, first + round(SHORTEST / FRAME) + int(room.argmin()), 0, total, False)
    best = max(spans, key=lambda span: _worth(span, speech))
    return _padded(*best, around, total, True)


def _worth(span: tuple[int, int], speech: npt.NDArray[np.int64]) -> float:
    first, last = span
    seconds = (last - first) * FRAME
    return float(speech[last] - speech[first]) / (last - first) - abs(seconds - _WANTED) / 20


def _padded(first: int, last: int, around: int, total: int, between: bool) -> Stretch:
    return Stretch(max(0, first - around) * FRAME, min(total, last + around) * FRAME, between)


def _words(active: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First frames, and frames after the last, of stretches of speech that pauses part."""
    edges = np.diff(np.concatenate([[0], active.astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    parted = begins[1:] - ends[:-1] >= round(PAUSE / FRAME)
    return begins[np.concatenate([[True], parted])[: len(begins)]], ends[np.concatenate([parted, [True]])[: len(ends)]]


def levelled(waveform: Floats, active: npt.NDArray[np.bool_], sample_rate: int) -> tuple[Floats, float]:
    """The waveform with its speech at `LEVEL`, softer where it would clip; and the gain in dB."""
    size = round(FRAME * sample_rate)
    frames = waveform[: len(active) * size].reshape(-1, size)[active[: len(waveform) // size]]
    power = np.square(frames, dtype=np.float64).mean() if frames.size else 0.0
    if power <= 0:
        return waveform, 0.0
    gain = min(10 ** (LEVEL / 20) / power**0.5, _PEAK / float(np.abs(waveform).max()))
    return (waveform * np.float32(gain)).astype(np.float32), float(20 * np.log10(gain))
