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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bark_jax.audio import Waveform
from bark_jax.engine import Engine
from bark_jax.generation import Generation, Tokens, warn_if_empty
from bark_jax.inputs import Options, derive_seed
from bark_jax.settings import SettingsError
from bark_jax.speech.joining import loud_windows
from bark_jax.speech.spoken import Score
from bark_jax.stages.progress import StageProgress

T = TypeVar("T")


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
    """Speak a text, given with its ids, n times, and rank the takes. Raises SettingsError."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise SettingsError(f"n must be an integer ≥ 1, not {n!r}")
    takes = [dataclasses.replace(options, seed=derive_seed(options.seed, 0, take)) for take in range(n)]
    clips: list[Generation] = []
    for own in batches(takes, engine.batch_size):
        clips += engine.generate_clips([text] * len(own), [ids] * len(own), own, progress)
    probabilities = log_probabilities(engine, [ids] * n, takes, [clip.semantic for clip in clips], engine.batch_size)
    # The scores of all takes are returned, so all of them are decoded: the penalties need their audio.
    scores = [
        score_take(clip.seed, probability, clip.waveform, clip.sample_rate)
        for clip, probability in zip(clips, probabilities, strict=True)
    ]
    order = sorted(range(n), key=lambda take: -scores[take].total)  # of equals the earlier first
    warn_if_empty(clips[order[0]].semantic, f"all {n} takes", stacklevel=3)
    kept = order if keep_all else order[:1]
    return Ranked(scores=tuple(scores[take] for take in order), generations=tuple(clips[take] for take in kept))


def best_take(
    engine: Engine, ids: Sequence[np.ndarray], options: Sequence[Options], tokens: Sequence[Tokens], rows: int
) -> tuple[int, Score, list[Waveform]]:
    """Which of the takes of a text has the highest score, that score, and its audio in pieces.

    Penalties only lower a score. So takes are decoded from the most probable on, until none of the others can win.
    """
    probabilities = log_probabilities(engine, ids, options, [made.semantic for made in tokens], rows)
    bounds = [-math.inf if probability is None else probability for probability in probabilities]
    best: tuple[int, Score, list[Waveform]] | None = None
    for take in sorted(range(len(bounds)), key=lambda take: -bounds[take]):
        if best and bounds[take] < best[1].total:
            break
        samples = list(engine.decode_pieces(tokens[take].fine))
        waveform = np.concatenate([np.zeros(0, np.float32), *samples])
        score = score_take(options[take].seed, probabilities[take], waveform, engine.config.codec.sample_rate)
        if best is None or (score.total, best[0]) > (best[1].total, take):  # of equals the earlier one
            best = take, score, samples
    assert best is not None, "a text has at least one take"
    return best


def log_probabilities(
    engine: Engine, ids: Sequence[np.ndarray], options: Sequence[Options], semantic: Sequence[np.ndarray], rows: int
) -> list[float | None]:
    """Of the semantic tokens of any number of items, computed in batches of at most `rows`."""
    items = list(zip(ids, semantic, options, strict=True))
    return [p for own in batches(items, rows) for p in engine.score_semantic(*zip(*own, strict=True))]


def batches(items: Sequence[T], rows: int) -> Iterator[Sequence[T]]:
    """The items in order, at most `rows` at a time."""
    for first in range(0, len(items), rows):
        yield items[first : first + rows]


def score_take(seed: int, log_probability: float | None, waveform: Waveform, sample_rate: int) -> Score:
    """The score of a clip, given how probable its semantic tokens are."""
    return Score(
        seed=seed, log_probability=log_probability, silence=silence_share(waveform, sample_rate),
        clipping=clipping_share(waveform),
    )  # fmt: skip


def silence_share(waveform: Waveform, sample_rate: int) -> float:
    """Which part of a waveform is silent, 0 … 1; 0 for one shorter than a window."""
    loud = loud_windows(waveform, sample_rate)
    return 1 - float(loud.mean()) if len(loud) else 0.0


def clipping_share(waveform: Waveform) -> float:
    """Which part of the samples is at full scale or beyond, 0 … 1."""
    return float((np.abs(waveform) >= 1).mean()) if len(waveform) else 0.0
