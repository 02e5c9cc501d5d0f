"""Who makes the chunks: this process, or several of this machine."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bark_jax.bulk.rows import Row
from bark_jax.bulk.run import make_chunk

Chunk = tuple[int, tuple[Row, ...]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker has to know."""

    source: str | Path  # of the model, for `Bark.from_pretrained`
    name: str
    folder: Path
    format: str
    batch_size: int | None  # None: that of the engine
    dtype: str | None = None
    compile_cache: bool | Path = False


class Worker:
    """A model, loaded once, and the chunks it makes."""

    def __init__(self, work: Work) -> None:
        from bark_jax.bark import Bark  # with JAX, in the worker alone

        self.work = work
        self.bark = Bark.from_pretrained(
            work.source, dtype=work.dtype, name=work.name, compile_cache=work.compile_cache or None
        )

    def make(self, chunk: Chunk) -> int:
        """A chunk; the number of its rows. Raises FileError."""
        from bark_jax.bulk.speaking import notes_of, speak_all

        rows = self.work.batch_size or self.bark.engine.batch_size
        number, own = chunk
        speak = partial(speak_all, self.bark, batch_size=rows)
        return make_chunk(self.work.folder, self.work.format, number, own, speak, partial(notes_of, self.bark))


def run_here(work: Work, chunks: Sequence[Chunk]) -> Iterator[int]:
    """In this process: the rows of each chunk, as it is done."""
    if chunks:
        yield from map(Worker(work).make, chunks)


_worker: Worker


def run_processes(work: Work, chunks: Sequence[Chunk], workers: int) -> Iterator[int]:
    """In several processes of this machine, which end when this one does."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(chunks)) or 1, mp_context=context, initializer=_begin, initargs=(work, os.getpid())
    ) as pool:
        futures = [pool.submit(_make, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(work: Work, parent: int) -> None:
    global _worker
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _worker = Worker(work)


def _end_with(parent: int) -> None:
    """A process whose parent was killed would wait for work forever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _make(chunk: Chunk) -> int:
    return _worker.make(chunk)
