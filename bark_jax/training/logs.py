"""The log of a run: lines for people, metrics.jsonl, and events for TensorBoard."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bark_jax.errors import RunError
from bark_jax.files import replacing
from bark_jax.sharding import is_first_host
from bark_jax.training.step import Metrics

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"


class Meter:
    """Means over the steps since they were last taken. Its state is JSON, so that a resumed run continues the count."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.steps: int = state["steps"] if state else 0
        self.sums: dict[str, float] = dict(state["sums"]) if state else {}

    @property
    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "sums": dict(self.sums)}

    def add(self, metrics: Metrics) -> None:
        """Those of a step, for which it waits."""
        values = {"loss": metrics.loss, **metrics.parts, "gradient_norm": metrics.gradient_norm}
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self.steps += 1

    def take(self) -> dict[str, float]:
        """The means; counting starts again."""
        means = {name: total / self.steps for name, total in self.sums.items()}
        self.steps, self.sums = 0, {}
        return means


class Log:
    """The log of a run of `steps` steps, in its folder, from `step` on: entries of later steps are removed.

    say: is given the lines for people. Of several processes the first one writes and says everything. Raises RunError
    when the files cannot be written.
    """

    def __init__(self, folder: Path, *, step: int, steps: int, say: Callable[[str], None]) -> None:
        import tensorboardX.event_file_writer as tensorboard  # of use in training only

        self.folder, self.step, self.steps, self._say = folder, step, steps, say
        self._since = time.monotonic()
        self._writes = is_first_host()
        if not self._writes:
            return
        with _naming(folder):
            (folder / EVENTS).mkdir(parents=True, exist_ok=True)
            _forget(folder / METRICS, step)
            self._metrics = (folder / METRICS).open("a", encoding="utf-8")
            # Not its SummaryWriter: that writes in a thread, which a full disk ends without a word.
            self._events = tensorboard.EventsWriter(os.fspath(folder / EVENTS / "events"), f".{step}")
            self._purge(step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._writes:
            return
        try:
            with _naming(self.folder):
                self._metrics.close()
                self._events.close()
        except RunError:
            if error is None:  # else that error is the one to report
                raise

    def say(self, line: str) -> None:
        """A line for people."""
        if self._writes:
            self._say(line)

    def restart_clock(self, step: int) -> None:
        """Speed is measured from this step on: what is over was compiling, or validation."""
        self.step, self._since = step, time.monotonic()

    def train(self, step: int, means: Mapping[str, float], learning_rate: float) -> None:
        """Means over the steps since the last line."""
        speed = (step - self.step) / (time.monotonic() - self._since)
        self.restart_clock(step)
        known = {} if math.isnan(learning_rate) else {"learning_rate": learning_rate}
        self._write(step, {**means, **known, "steps_per_second": speed}, "train")
        losses = [f"{name} {value:.4f}" for name, value in means.items() if name != "gradient_norm"]
        rates = [*(f"lr {rate:.1e}" for rate in known.values()), *([f"{speed:.2f} steps/s"] if speed else [])]
        left = [f"{describe_seconds((self.steps - step) / speed)} left"] if speed else []
        self.say("  ".join([f"step {step}/{self.steps}", *losses, *rates, *left]))

    def validation(self, step: int, losses: Mapping[str, float]) -> None:
        """Losses on held-out clips."""
        self._write(step, {f"validation_{name}": value for name, value in losses.items()}, "validation")
        shown = [f"{name} {value:.4f}" for name, value in losses.items()]
        self.say("  ".join([f"step {step}/{self.steps}", "validation", *shown]))

    def _write(self, step: int, values: Mapping[str, float], group: str) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        if not self._writes:
            return
        tags = [(f"{group}/{name.removeprefix('validation_')}", value) for name, value in values.items()]
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in tags])
        with _naming(self.folder):
            self._metrics.write(json.dumps({"step": step, **values}) + "\n")
            self._metrics.flush()
            self._add_event(step, summary=summary)

    def _purge(self, step: int) -> None:
        """Void the events of later steps, for TensorBoard."""
        from tensorboardX.proto.event_pb2 import SessionLog

        self._add_event(step + 1, session_log=SessionLog(status=SessionLog.START))

    def _add_event(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._events.write_event(Event(wall_time=time.time(), step=step, **content))
        self._events.flush()


def _forget(path: Path, step: int) -> None:
    """Leave only the whole lines of a metrics file, up to a step."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if _is_of(line, step)]
    with replacing(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8")


def _is_of(line: str, step: int) -> bool:
    try:
        return line.endswith("\n") and json.loads(line)["step"] <= step
    except (ValueError, KeyError, TypeError):  # half a line, of a run that was killed
        return False


def describe_seconds(seconds: float) -> str:
    """A duration for people: 42 s, 17 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write the log of the run in {folder}: {error}") from error
