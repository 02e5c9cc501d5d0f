"""One line of progress, which is gone when the work is done: the stage, how far it is, seconds of audio."""

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from bark_jax.config import BarkConfig
from bark_jax.speech.speaking import PIECES

_UNITS = {"semantic": "token", "coarse": "token", "fine": "window", "codec": "frame"}


class Bars:
    """A progress bar for each stage in turn, all in one line that is cleared at the end.

    A stage of which the first part takes long is compiling: that is said until it moves. A clip may end before its
    maximal length; the bar then ends at 100 % all the same. Hidden if asked to be, and where standard error is no
    terminal.
    """

    def __init__(self, config: BarkConfig, *, hidden: bool) -> None:
        self.hidden = hidden
        self.rates = {  # units per second of audio; the fine stage's windows overlap
            "semantic": config.semantic.rate_hz,
            "coarse": config.codec.frame_rate_hz * config.coarse.codebooks,
            "codec": config.codec.frame_rate_hz,
        }
        self.length = 0.0  # seconds of the whole clip, known once its coarse codes are
        self.stage = ""
        self.pieces = ""  # how many are done, of how many
        self.compiled: set[str] = set()  # stages that have moved: their programs are there
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close(ended=error is None)

    def update(self, stage: str, done: int, total: int) -> None:
        """How far a stage is: what `Bark.generate` and `Bark.speak` call."""
        if stage == PIECES:
            self.pieces = f"piece {done}/{total} "
            return
        if stage != self.stage or self.bar is None or done < self.bar.n:
            self._close(ended=True)
            self.stage = stage
            hidden = True if self.hidden else None  # None: where there is no terminal
            description = f"{self.pieces}{stage:8}"
            self.bar = tqdm(desc=description, total=total, unit=_UNITS[stage], disable=hidden, leave=False)
        if done:
            self.compiled.add(stage)
        what = f"{self._seconds(stage, done, total):.1f} s of audio" if stage in self.compiled else "compiling"
        self.bar.set_postfix_str(what, refresh=False)
        self.bar.update(done - self.bar.n)
        self.bar.refresh()

    def _seconds(self, stage: str, done: int, total: int) -> float:
        if stage == "coarse":
            self.length = total / self.rates[stage]
        return done / self.rates[stage] if stage in self.rates else self.length * done / max(total, 1)

    def _close(self, *, ended: bool) -> None:
        if self.bar is not None:
            if ended and self.bar.total != self.bar.n:  # the clip ended early
                self.bar.total = self.bar.n
                self.bar.refresh()
            self.bar.close()
            self.bar = None
