"""How the host and the device take turns: in chunks while somebody watches, once per stage while nobody does."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # (done, in all), beginning with 0 done

StageProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, done, in all): tokens of the semantic and coarse stages, windows of the fine stage, frames."""


def checkpoints(total: int, every: int, progress: Progress | None) -> Iterator[int]:
    """Where the device stops: every, 2·every, …, total if somebody watches, at total alone if nobody does."""
    if progress:
        progress(0, total)
        yield from range(every, total, every)
    if total:
        yield total
