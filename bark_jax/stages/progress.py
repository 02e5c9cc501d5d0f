"""Progress of a stage: the device works in chunks while somebody watches, in one piece while nobody does."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # (done, in all), beginning with 0 done

PROGRESS_TOKENS = 60  # decoding steps between two reports


def checkpoints(total: int, every: int, progress: Progress | None) -> Iterator[int]:
    """Where the device stops: every, 2·every, …, total if somebody watches, at total alone if nobody does."""
    if progress:
        progress(0, total)
        yield from range(every, total, every)
    if total:
        yield total
