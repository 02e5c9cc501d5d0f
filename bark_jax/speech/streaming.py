"""Audio while it is made: a thread works ahead of whoever listens, and stops when nobody does."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from bark_jax.audio import Waveform
from bark_jax.speech.speech import Speech
from bark_jax.speech.spoken import Part, SpokenPiece

T = TypeVar("T")

Check: TypeAlias = Callable[[], None]
"""Called by the work now and then; raises Abandoned once nobody waits for its results."""

AHEAD = 32  # chunks, of about a second, that are made before somebody takes them


class Abandoned(Exception):
    """Ends work whose consumer has gone."""


def work_ahead(work: Callable[[Check], Iterable[T]], most: int) -> Generator[T]:
    """The items of `work(check)`, which a thread makes, until `most` of them wait to be taken.

    An error in the thread is raised here, after the items before it. When this generator is closed, or dropped, or
    interrupted, it waits for the thread, which ends at its next `check` or item.
    """
    results: queue.Queue[tuple[str, Any]] = queue.Queue(most)
    gone = threading.Event()

    def check() -> None:
        if gone.is_set():
            raise Abandoned

    def run() -> None:
        try:
            for item in work(check):
                results.put(("item", item))
                check()
            results.put(("end", None))
        except Abandoned:
            pass
        except BaseException as error:
            results.put(("error", error))

    thread = threading.Thread(target=run, name="bark_jax stream", daemon=True)
    thread.start()
    try:
        while (result := results.get())[0] == "item":
            yield result[1]
        if result[0] == "error":
            raise result[1]
    finally:
        gone.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):  # make room for what the thread may be waiting to put
                results.get_nowait()
            thread.join(0.01)


Work: TypeAlias = Callable[[Check | None], Generator[Part]]


class Stream:
    """A text being spoken (`Bark.stream`): iterate over it, once, for its audio in chunks, float32 [any].

    The work begins with the iteration, and continues in a thread while a chunk is used. It stops when the iteration
    does: by `break`, an exception, or `close` of the iterator.
    """

    def __init__(self, work: Work, finish: Callable[..., Speech], sample_rate: int, *, ahead: int = AHEAD) -> None:
        """finish: makes a Speech of `pieces`, `waveform` and `time_to_first_audio`. ahead 0: work without a thread."""
        self.sample_rate = sample_rate  # Hz
        self.pieces: list[SpokenPiece] = []  # those whose end has been handed out
        self.time_to_first_audio: float | None = None  # seconds since the work began, as soon as there is any
        self._work: Work | None = work
        self._finish = finish
        self._ahead = ahead

    def __iter__(self) -> Generator[Waveform]:
        if self._work is None:
            raise RuntimeError("a stream can be heard once: call Bark.stream again")
        work, self._work = self._work, None
        return self._listen(work_ahead(work, self._ahead) if self._ahead else work(None))

    def _listen(self, parts: Generator[Part]) -> Generator[Waveform]:
        started = time.perf_counter()
        with contextlib.closing(parts):
            for samples, piece in parts:
                if self.time_to_first_audio is None and len(samples):
                    self.time_to_first_audio = time.perf_counter() - started
                if piece is not None:
                    self.pieces.append(piece)
                if len(samples):
                    yield samples

    def speech(self, chunks: Sequence[Waveform]) -> Speech:
        """All that has been said so far, given all the chunks (which the stream itself does not keep)."""
        waveform = np.concatenate([np.zeros(0, np.float32), *chunks])
        return self._finish(
            pieces=tuple(self.pieces), waveform=waveform, sample_rate=self.sample_rate,
            time_to_first_audio=self.time_to_first_audio,
        )  # fmt: skip
