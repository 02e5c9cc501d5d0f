"""Several texts spoken side by side: which rows each needs next, and one batch of rows of any of them.

Whoever drives this decides the order (a server by who waits, a bulk run by length). Since every row of a batch is what
it would be alone, no order changes a text's audio.
"""

from collections.abc import Generator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from bark_jax.engine import Engine
from bark_jax.generation import Tokens
from bark_jax.inputs import Options
from bark_jax.speech.joining import Joiner
from bark_jax.speech.planning import Cast, Job
from bark_jax.speech.speaking import choose_take, fill, make_takes, render_piece
from bark_jax.speech.spoken import Part, SpokenPiece
from bark_jax.speech.streaming import Abandoned


class Performance:
    """A text being spoken: `rows` says what it needs, `take` receives their tokens, `parts` gives the audio."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self.job = job
        self.pieces: list[SpokenPiece] = []  # those that are spoken and joined
        self.abandoned = False  # nobody wants the rest: set by any thread
        self._engine = engine
        self._cast = Cast(job, engine.config)
        self._joiner = Joiner(job.delivery.join, engine.config.codec.sample_rate, job.script.lead)
        self._made: dict[tuple[int, int], Tokens] = {}  # of the pieces after those

    @property
    def finished(self) -> bool:
        """Whether every piece is spoken."""
        return len(self.pieces) == len(self.job.script.pieces)

    def rows(self, most: int) -> "list[Row]":
        """What can be made now, in order, at most so much: the takes of all pieces whose voice is known."""
        first, pieces = len(self.pieces), self.job.script.pieces
        ready = range(first, first + self._cast.count_ready(pieces[first : first + most]))
        rows = (
            Row(self, index, number, *take)
            for index in ready
            for number, take in enumerate(make_takes(self.job, self._cast, index))
            if (index, number) not in self._made
        )
        return list(islice(rows, most))

    def take(self, row: "Row", tokens: Tokens) -> None:
        """A row of `rows` has been made."""
        self._made[row.piece, row.number] = tokens

    def parts(self) -> Generator[Part]:
        """The audio of the pieces that are complete by now, in order; after the last of all, the end."""
        takes = self.job.delivery.best_of
        while not self.finished:
            index = len(self.pieces)
            if any((index, number) not in self._made for number in range(takes)):
                return
            tokens = [self._made.pop((index, number)) for number in range(takes)]
            own = make_takes(self.job, self._cast, index)
            made = choose_take(self._engine, self.job, index, own, tokens, 1, {})
            for part in render_piece(self._engine, self._joiner, made):
                if part.piece is not None:
                    self._cast.hear(index, part.piece.piece.speaker, part.piece.tokens)
                    self.pieces.append(part.piece)
                yield part
        yield Part(self._joiner.finish())


class Row(NamedTuple):
    """One take of one piece of a text."""

    performance: Performance
    piece: int
    number: int  # of the take
    ids: np.ndarray
    options: Options


def speak_rows(engine: Engine, rows: Sequence[Row], sizes: Sequence[int]) -> list[tuple[Row, Tokens]]:
    """The tokens of rows of any texts, made as one batch, filled up to the next of `sizes`, which rise.

    Rows of texts that are abandoned meanwhile are dropped at the next stage; the work ends, and nothing is returned,
    once all of them are.
    """
    made: dict[str, list[np.ndarray]] = {}
    rows, inputs = list(rows), [row.ids for row in rows]

    def check(done: int, total: int) -> None:
        if all(row.performance.abandoned for row in rows):
            raise Abandoned

    for stage in Tokens._fields:
        kept = [number for number, row in enumerate(rows) if not row.performance.abandoned]
        rows, inputs = [rows[number] for number in kept], [inputs[number] for number in kept]
        made = {name: [arrays[number] for number in kept] for name, arrays in made.items()}
        if not rows:
            return []
        size = next(size for size in sizes if size >= len(rows))
        try:
            full = partial(fill, count=size)
            inputs = engine.run(stage, full(inputs), full([row.options for row in rows]), check)[: len(rows)]
        except Abandoned:
            return []
        made[stage] = inputs
    return [(row, Tokens(*own)) for row, *own in zip(rows, *made.values(), strict=True)]


def sizes_up_to(most: int) -> list[int]:
    """1, 2, 4, … and `most` itself."""
    sizes = [1]
    while sizes[-1] * 2 < most:
        sizes.append(sizes[-1] * 2)
    return sizes if most == 1 else [*sizes, most]
