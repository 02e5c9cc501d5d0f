"""Which of several takes of a text is the best?

A take's score is the mean log-probability of its semantic tokens, in nats per token, less penalties:

    score = log_probability − 2 · silence − 50 · clipping

`silence` is the share of the clip (windows of 10 ms) below −45 dB of full scale, `clipping` the share of its samples at
full scale or beyond. Babble and invented words are improbable to the model, which is what the first term is for; the
weights make 10 % more silence, or 0.4 % of the samples clipped, count as much as 0.2 nats per token, about what takes
of one text differ by. They are judgement, not measurement. An empty clip ranks last.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bark_jax.audio import Waveform
from bark_jax.engine import Engine
from bark_jax.generation import Generation, warn_if_empty
from bark_jax.inputs import Options, derive_seed
from bark_jax.settings import SettingsError
from bark_jax.speech.joining import loud_windows
from bark_jax.stages.progress import StageProgress

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


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Takes of one text, the best first."""

    scores: tuple[Score, ...]  # of all takes
    generations: tuple[Generation, ...]  # in the same order: all of them if they were kept, else the best alone

    @property
    def best(self) -> Generation:
        """The take with the highest score."""
        return self.generations[0]


def best_of(
    engine: Engine, text: str, ids: np.ndarray, options: Options, n: int, keep_all: bool,
    progress: StageProgress | None,
) -> Ranked:  # fmt: skip
    """Speak a text, given with its ids, n times as one batch, and rank the takes. Raises SettingsError."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise SettingsError(f"n must be an integer ≥ 1, not {n!r}")
    takes = [dataclasses.replace(options, seed=derive_seed(options.seed, 0, take)) for take in range(n)]
    clips = engine.generate_clips([text] * n, [ids] * n, takes, progress)
    scores = score_takes(engine, [ids] * n, takes, [clip.semantic for clip in clips], (clip.waveform for clip in clips))
    order = sorted(range(n), key=lambda take: -scores[take].total)  # of equals the earlier first
    warn_if_empty(clips[order[0]].semantic, f"all {n} takes", stacklevel=3)
    kept = order if keep_all else order[:1]
    return Ranked(scores=tuple(scores[take] for take in order), generations=tuple(clips[take] for take in kept))


def score_takes(
    engine: Engine, ids: Sequence[np.ndarray], options: Sequence[Options], semantic: Sequence[np.ndarray],
    waveforms: Iterable[Waveform],
) -> list[Score]:  # fmt: skip
    """The scores of a batch: what it was made from, its semantic tokens and its waveforms, one for each item."""
    rate = engine.config.codec.sample_rate
    return [
        Score(seed=o.seed, log_probability=p, silence=silence_share(w, rate), clipping=clipping_share(w))
        for o, p, w in zip(options, engine.score_semantic(ids, semantic, options), waveforms, strict=True)
    ]


def silence_share(waveform: Waveform, sample_rate: int) -> float:
    """Which part of a waveform is silent, 0 … 1; 0 for one shorter than a window."""
    loud = loud_windows(waveform, sample_rate)
    return 1 - float(loud.mean()) if len(loud) else 0.0


def clipping_share(waveform: Waveform) -> float:
    """Which part of the samples is at full scale or beyond, 0 … 1."""
    return float((np.abs(waveform) >= 1).mean()) if len(waveform) else 0.0
