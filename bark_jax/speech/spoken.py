"""What a long text becomes, piece by piece."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bark_jax.audio import Waveform
from bark_jax.equality import EqualByContent
from bark_jax.generation import Tokens
from bark_jax.settings import Settings
from bark_jax.sound import excerpt
from bark_jax.speech.script import Piece
from bark_jax.voices.voice import Voice

SILENCE_WEIGHT = 2.0
CLIPPING_WEIGHT = 50.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good a take is, by the formula of `bark_jax.speech.ranking`."""

    seed: int
    log_probability: float | None  # mean of the semantic tokens, nats; None for an empty clip
    silence: float  # share of the clip, 0 … 1
    clipping: float  # share of the samples, 0 … 1

    @property
    def total(self) -> float:
        """The higher the better; −∞ for an empty clip."""
        if self.log_probability is None:
            return -math.inf
        return self.log_probability - SILENCE_WEIGHT * self.silence - CLIPPING_WEIGHT * self.clipping


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SpokenPiece(EqualByContent):
    """One clip of a speech, and what it was made from: generated alone from that, it has the same tokens."""

    piece: Piece  # its text, its speaker and the pause after it
    voice: Voice | None  # called "piece N" where it is an earlier piece of the same speech, counted from 0
    seed: int
    take: int  # 0 for the first attempt
    settings: Settings
    tokens: Tokens
    takes: int = 1  # of which it is the best
    score: Score | None = None  # if there were several
    timings: Mapping[str, float] = field(compare=False)  # seconds per stage: its share of what its batch took
    start: float = 0.0  # seconds: where it lies in the joined waveform
    end: float = 0.0

    def __repr__(self) -> str:
        speaker = f", {self.piece.speaker}" if self.piece.speaker else ""
        span = f"{self.start:.2f} … {self.end:.2f} s"
        return f"SpokenPiece({excerpt(self.piece.text)}{speaker}, {span}, seed {self.seed})"


class Part(NamedTuple):
    """What comes next of a speech."""

    samples: Waveform  # [any] float32, of the joined waveform
    piece: SpokenPiece | None = None  # the piece that ends with them


def sum_timings(timings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds per stage, all together."""
    total: dict[str, float] = {}
    for own in timings:
        for stage, seconds in own.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total
