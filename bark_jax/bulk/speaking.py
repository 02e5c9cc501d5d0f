"""Rows → their audio, side by side: what every worker of every engine runs."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bark_jax.audio import Waveform
from bark_jax.bark import Bark
from bark_jax.bulk.rows import Row
from bark_jax.errors import BarkError
from bark_jax.generation import Tokens
from bark_jax.speech.performing import Performance, sizes_up_to, speak_rows
from bark_jax.speech.planning import plan


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A row and its audio."""

    row: Row
    waveform: Waveform  # float32 [samples]
    sample_rate: int  # Hz
    tokens: Tokens  # of all pieces, one after the other
    score: float | None  # the mean of its pieces' best takes; None unless several were made

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate


Result = Spoken | str  # or why it could not be spoken


def speak_all(bark: Bark, rows: Sequence[Row], batch_size: int) -> list[Result]:
    """Speak rows of about the same length. Every one has the audio that it has alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `notes_of` has them
        planned = [_plan(bark, row) for row in rows]
    performances = [own for own in planned if isinstance(own, Performance)]
    heard: dict[Performance, list[Waveform]] = {own: [] for own in performances}
    sizes = sizes_up_to(batch_size)
    while waiting := [own for own in performances if not own.finished]:
        batch = [row for own in waiting[:batch_size] for row in own.rows(batch_size)][:batch_size]
        for row, tokens in speak_rows(bark.engine, batch, sizes):
            row.performance.take(row, tokens)
        for own in dict.fromkeys(row.performance for row in batch):
            heard[own] += [part.samples for part in own.parts()]
    return [
        _finish(bark, row, own, heard[own]) if isinstance(own, Performance) else own
        for row, own in zip(rows, planned, strict=True)
    ]


def notes_of(bark: Bark, row: Row) -> list[str]:
    """What is dropped, ignored or replaced of a row that can be spoken."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _plan(bark, row)
    return [str(warning.message) for warning in caught]


def _plan(bark: Bark, row: Row) -> Performance | str:
    try:
        job = plan(bark.frontend, row.text, row.voice, row.voices, row.seed, None, row.overrides)
    except (BarkError, TypeError) as error:
        return " ".join([str(error), *getattr(error, "__notes__", ())])
    return Performance(bark.engine, job)


def _finish(bark: Bark, row: Row, performance: Performance, chunks: Sequence[Waveform]) -> Result:
    waveform = np.concatenate([np.zeros(0, np.float32), *chunks])
    if not any(len(said.tokens.semantic) for said in performance.pieces):
        return f"the model ended it before its first token: try another seed than {row.seed}"
    arrays = zip(*(said.tokens for said in performance.pieces), strict=True)
    scores = [said.score.total for said in performance.pieces if said.score]
    return Spoken(
        row=row, waveform=waveform, sample_rate=bark.config.codec.sample_rate,
        tokens=Tokens(*(np.concatenate(own, axis=-1) for own in arrays)),
        score=float(np.mean(scores)) if scores else None,
    )  # fmt: skip
