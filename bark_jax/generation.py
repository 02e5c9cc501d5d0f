"""What `Bark.generate` returns."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bark_jax.audio import write_audio
from bark_jax.voice import Voice


class EmptyGeneration(UserWarning):
    """The model ended the clip before its first token."""


def warn_if_empty(semantic: np.ndarray, what: str, stacklevel: int) -> None:
    """Warn with EmptyGeneration that `what` has no tokens, from so many callers up, as `warnings.warn` counts them."""
    if not len(semantic):
        message = f"the model ended {what} before its first token: try another seed"
        warnings.warn(message, EmptyGeneration, stacklevel=stacklevel + 1)


class Tokens(NamedTuple):
    """What the transformers make of one text."""

    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generated clip with everything it was made from."""

    text: str
    seed: int
    sample_rate: int  # Hz
    waveform: np.ndarray  # [samples] float32, about −1 … 1
    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32
    timings: Mapping[str, float]  # seconds per stage, of the whole batch; the first call of a shape compiles

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.waveform) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of work, for the whole batch, per second of this clip; infinite for an empty clip."""
        return sum(self.timings.values()) / self.seconds if self.seconds else float("inf")

    def save(self, path: str | Path) -> None:
        """Write the waveform to a .wav, .flac or .ogg file. Raises AudioError."""
        write_audio(path, self.waveform, self.sample_rate)

    def as_voice(self) -> Voice:
        """This clip as the voice of later ones. Raises VoiceError for an empty clip."""
        return Voice(semantic=self.semantic, coarse=self.coarse, fine=self.fine)
