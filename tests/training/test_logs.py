"""The log of a run: lines, metrics.jsonl and TensorBoard's events."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import pytest

from bark_jax.errors import RunError
from bark_jax.training import Metrics
from bark_jax.training.logs import EVENTS, METRICS, Log, Meter, describe_seconds


def metrics(loss: float) -> Metrics:
    value = jnp.float32(loss)
    return Metrics(jnp.int32(0), value, {"spectral": value / 2}, value, value, jnp.bool(True))


def make_log(folder: Path, lines: list[str], step: int = 0) -> Log:
    return Log(folder, step=step, steps=100, say=lines.append)


def read_events(folder: Path) -> Iterator[tuple[int, dict[str, float], bool]]:
    """Step, values, and whether it voids what came at that step or later, of every event in order of the files."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    for file in sorted((folder / EVENTS).iterdir()):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            values = {value.tag: value.simple_value for value in event.summary.value}
            yield event.step, values, event.session_log.status == SessionLog.START


def test_a_meter_takes_means_and_resumes_from_its_state() -> None:
    meter = Meter()
    meter.add(metrics(1.0))
    again = Meter(json.loads(json.dumps(meter.state)))
    again.add(metrics(2.0))
    assert again.take() == {"loss": 1.5, "spectral": 0.75, "gradient_norm": 1.5}
    again.add(metrics(4.0))
    assert again.take()["loss"] == 4.0


def test_what_is_logged_of_a_step(tmp_path: Path) -> None:
    lines: list[str] = []
    with make_log(tmp_path, lines) as log:
        log.train(10, {"loss": 1.5, "spectral": 0.75, "gradient_norm": 3.0}, 1e-3)
        log.validation(10, {"loss": 2.0})
    assert lines[0].startswith("step 10/100  loss 1.5000  spectral 0.7500  lr 1.0e-03")
    assert lines[0].endswith(" left")
    assert lines[1] == "step 10/100  validation  loss 2.0000"
    train, validation = map(json.loads, (tmp_path / METRICS).read_text().splitlines())
    assert train.pop("steps_per_second") > 0
    assert train == {"step": 10, "loss": 1.5, "spectral": 0.75, "gradient_norm": 3.0, "learning_rate": 1e-3}
    assert validation == {"step": 10, "validation_loss": 2.0}
    events = [event for event in read_events(tmp_path) if event[1]]
    assert [step for step, _, _ in events] == [10, 10]
    assert events[0][1]["train/loss"] == 1.5
    assert events[1][1] == {"validation/loss": 2.0}


def test_a_resumed_run_forgets_what_came_later(tmp_path: Path) -> None:
    with make_log(tmp_path, []) as log:
        for step in (10, 20, 30):
            log.train(step, {"loss": 1.0}, 1e-3)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 15, "lo')  # of a run that was killed
    with make_log(tmp_path, [], step=20) as log:
        log.train(30, {"loss": 2.0}, 1e-3)
    found = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in found] == [(10, 1.0), (20, 1.0), (30, 2.0)]
    assert [step for step, _, void in read_events(tmp_path) if void] == [1, 21]


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / METRICS).mkdir()
    with pytest.raises(RunError, match=f"cannot write the log of the run in {tmp_path}"):
        make_log(tmp_path, [])


@pytest.mark.parametrize(("seconds", "shown"), [(42, "42 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations(seconds: float, shown: str) -> None:
    assert describe_seconds(seconds) == shown
