"""Spoken pieces → one waveform: the silence at their ends shortened, pauses between them, no clicks.

Everything works on what has arrived so far and lets go of samples as soon as they are certain, so that a stream is
joined while it is made. How samples were cut into chunks on the way changes no bit of the result.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bark_jax.audio import Waveform
from bark_jax.settings import SettingsError

WINDOW = 0.01  # seconds over which loudness is measured
SILENCE_DB = -45.0  # RMS of a window that counts as silent, in dB of full scale

_RANGES = {"silence_db": (-200, 0), "keep": (0, 60), "fade": (0, 1)}
_NOTHING: Waveform = np.zeros(0, np.float32)


@dataclass(frozen=True, kw_only=True)
class Join:
    """How pieces become one waveform. Raises SettingsError naming the field that is out of range.

    Silence is shortened at both ends of a piece, never inside. Then the piece is faded in and out. A pause is exactly
    its length of silence between two pieces; without one they overlap by `fade`, which is a cross-fade.
    """

    silence_db: float = SILENCE_DB  # what stays below this is silence
    keep: float = 0.08  # seconds of silence left, at most, before and after what is said in a piece
    fade: float = 0.01  # seconds of each fade; of a piece shorter than two, half the piece

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
                raise SettingsError(f"{name} must be a number in {least} … {most}, not {value!r}")


def loud_windows(waveform: Waveform, sample_rate: int, silence_db: float = SILENCE_DB) -> npt.NDArray[np.bool_]:
    """Which windows of 10 ms are not silent, bool [N / window]; samples that do not fill the last are left out."""
    size = _samples(WINDOW, sample_rate)
    windows = waveform[: len(waveform) // size * size].reshape(-1, size)
    return np.square(windows, dtype=np.float64).mean(axis=1) >= 10 ** (silence_db / 10)


class Trimmer:
    """Shortens the silence before and after what is said in one piece: `push` its samples as they come, then `finish`.

    Held back is only what may turn out to be the silence at the end.
    """

    def __init__(self, join: Join, sample_rate: int) -> None:
        self.join = join
        self.sample_rate = sample_rate
        self.window = _samples(WINDOW, sample_rate)
        self.keep = _samples(join.keep, sample_rate)
        self.silence = _NOTHING  # whole windows since the last loud one
        self.rest = _NOTHING  # less than a window
        self.begun = False  # whether any window was loud

    def push(self, samples: Waveform) -> Waveform:
        """More samples of the piece; returns those that are certain to stay."""
        samples = np.concatenate([self.rest, samples])
        loud = np.flatnonzero(loud_windows(samples, self.sample_rate, self.join.silence_db))
        whole = len(samples) // self.window * self.window
        before, self.rest = len(self.silence), samples[whole:]
        self.silence = np.concatenate([self.silence, samples[:whole]])
        if not len(loud):
            return _NOTHING
        first = 0 if self.begun else max(0, before + loud[0] * self.window - self.keep)
        after = before + (loud[-1] + 1) * self.window
        certain, self.silence, self.begun = self.silence[first:after], self.silence[after:], True
        return certain

    def finish(self) -> Waveform:
        """The end of the piece: a part of a window counts as a whole one."""
        padding = np.zeros(-len(self.rest) % self.window, np.float32)
        short = len(padding)
        certain = self.push(padding)
        if len(certain):  # the last window was loud
            return certain[: len(certain) - short]
        silence = self.silence[: len(self.silence) - short]
        return silence[: self.keep] if self.begun else silence[max(0, len(silence) - self.keep) :]


class Joiner:
    """Joins pieces: `push` the samples of one as they come, `end_piece`, those of the next, …, and `finish`.

    Each returns the samples that are certain by now, float32 [any]; all of them in a row are the joined waveform. Held
    back are the end of a piece, as long as it may have to be faded out, and the pause after it.
    """

    def __init__(self, join: Join, sample_rate: int, lead: float = 0.0) -> None:
        """lead: seconds of silence in front."""
        self.join = join
        self.sample_rate = sample_rate
        self.fade = _samples(join.fade, sample_rate)
        self.tail = _NOTHING  # the end of the last piece, faded out
        self.silence = _silence(lead, sample_rate)  # what comes after it
        self.emitted = 0  # samples
        self._begin_piece()

    def _begin_piece(self) -> None:
        self.trimmer = Trimmer(self.join, self.sample_rate)
        self.held = _NOTHING  # trimmed, not yet returned
        self.start: int | None = None  # where the piece begins in the joined waveform, once that is certain

    def push(self, samples: Waveform) -> Waveform:
        """More samples of the piece at hand."""
        self.held = np.concatenate([self.held, self.trimmer.push(samples)])
        if self.start is None:
            if len(self.held) < max(1, 2 * self.fade):
                return _NOTHING
            self._fade_in(self.fade)
        return self._emit(self.fade)

    def end_piece(self, pause: float) -> tuple[Waveform, tuple[int, int]]:
        """The piece is over, and seconds of silence follow.

        Returns also the positions in the joined waveform of the piece's first sample and of the one after its last. A
        piece without samples takes no time; of the pauses before and after it the longer one stands.
        """
        self.held = np.concatenate([self.held, self.trimmer.finish()])
        pause_after = _silence(pause, self.sample_rate)
        if self.start is None and not len(self.held):
            self.silence = max(self.silence, pause_after, key=len)
            self._begin_piece()
            here = self.emitted + len(self.tail)
            return _NOTHING, (here, here)
        fade = self.fade
        if self.start is None:
            fade = min(fade, len(self.held) // 2)
            self._fade_in(fade)
        certain = self._emit(fade)
        span = (self.start or 0, self.emitted + len(self.held))
        self.tail, self.silence = self.held * _ramp(fade)[::-1], pause_after
        self._begin_piece()
        return certain, span

    def finish(self) -> Waveform:
        """No piece follows: the last one's end and pause."""
        self.held = np.concatenate([self.tail, self.silence])
        self.tail = self.silence = _NOTHING
        return self._emit(0)

    def _fade_in(self, fade: int) -> None:
        """Begin the piece: put in front of it what is held of the last one."""
        overlap = 0 if len(self.silence) else min(fade, len(self.tail))
        before = np.concatenate([self.tail, self.silence])
        self.held[:fade] *= _ramp(fade)
        before[len(before) - overlap :] += self.held[:overlap]
        self.start = self.emitted + len(before) - overlap
        self.held = np.concatenate([before, self.held[overlap:]])

    def _emit(self, held_back: int) -> Waveform:
        """All that is held, except for the last samples."""
        certain, self.held = np.split(self.held, [len(self.held) - held_back])
        self.emitted += len(certain)
        return certain


def _ramp(length: int) -> Waveform:
    """Weights of a fade, 0 … 1: sin², which adds up to 1 with itself reversed."""
    return (np.sin(math.pi / 2 * (np.arange(length) + 0.5) / max(1, length)) ** 2).astype(np.float32)


def _samples(seconds: float, sample_rate: int) -> int:
    return round(seconds * sample_rate)


def _silence(seconds: float, sample_rate: int) -> Waveform:
    return np.zeros(_samples(seconds, sample_rate), np.float32)
