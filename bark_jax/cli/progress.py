"""A progress bar for each stage in turn, of a long text for each stage of each batch of pieces."""

from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from bark_jax.config import BarkConfig
from bark_jax.speech.speaking import PIECES

_UNITS = {"semantic": "token", "coarse": "token", "fine": "window", "codec": "frame"}


class Bars:
    """A progress bar for each stage in turn, with its speed, and how many seconds of audio it has made so far.

    Hidden if so told, and where standard error is no terminal.
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
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def update(self, stage: str, done: int, total: int) -> None:
        """So many units of a stage are done: what `Bark.generate` and `Bark.speak` call."""
        if stage == PIECES:
            self.pieces = f"piece {done}/{total} "
            return
        if stage != self.stage or self.bar is None or done < self.bar.n:
            self._close()
            self.stage = stage
            hidden = True if self.hidden else None  # None: where there is no terminal
            self.bar = tqdm(desc=f"{self.pieces}{stage:8}", total=total, unit=_UNITS[stage], disable=hidden)
        self.bar.set_postfix_str(f"{self._seconds(stage, done, total):.1f} s of audio", refresh=False)
        self.bar.update(done - self.bar.n)

    def _seconds(self, stage: str, done: int, total: int) -> float:
        if stage == "coarse":
            self.length = total / self.rates[stage]
        return done / self.rates[stage] if stage in self.rates else self.length * done / max(total, 1)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
