"""A progress bar for each stage in turn."""

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

_UNITS = {"semantic": "token", "coarse": "token", "fine": "window", "codec": "frame"}


class Bars:
    """A progress bar for each stage in turn, with its speed."""

    def __init__(self, *, hidden: bool) -> None:
        self.hidden = hidden
        self.stage = ""
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage or self.bar is None:
            self._close()
            self.stage = stage
            self.bar = tqdm(desc=f"{stage:8}", total=total, unit=_UNITS[stage], disable=self.hidden)
        self.bar.update(done - self.bar.n)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
