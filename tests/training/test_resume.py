"""A run that is stopped anywhere and resumed ends bit for bit as one that is not stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bark_jax.training import Trainer
from bark_jax.training.run import RunConfig, Schedule, run_training

from small import named_clips, run_config, tones
from test_run import metrics

STAGES = ("codec", "coarse")  # the one with codebooks that follow averages, and one with voices
STEPS = 6


class PowerCutError(Exception):
    """Raised where a run is to stop."""


def train(folder: Path, stage: str) -> RunConfig:
    """A run whose log lines, validation and checkpoints are of different steps."""
    schedule = Schedule(log_every=3, save_every=2, validate_every=5, sample_every=0, held_out=0.2)
    config = run_config(folder, schedule=schedule)
    run_training(config, stage, clips=tones() if stage == "codec" else named_clips(), say=lambda line: None)
    return config


def stop_at(step: int, stop: Callable[[], None], setattr: Callable[..., None]) -> None:
    """Have the next run stop instead of taking that step, counted from 1."""
    taken, take = 0, Trainer.step

    def limited(*arguments: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == step:
            stop()
        return take(*arguments)

    setattr(Trainer, "step", limited)


def pull_the_plug() -> None:
    raise PowerCutError


def results(config: RunConfig, stage: str) -> tuple[bytes, list[dict[str, Any]]]:
    return (config.model / f"{stage}.safetensors").read_bytes(), metrics(config)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, list[dict[str, Any]]]]:
    return {stage: results(train(tmp_path_factory.mktemp(stage), stage), stage) for stage in STAGES}


@pytest.mark.parametrize(
    ("stage", "stops"), [*(("codec", [step]) for step in range(1, STEPS + 1)), ("codec", [4, 1, 2, 3]), ("coarse", [4])]
)
def test_stopped_runs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Any, stage: str, stops: list[int]
) -> None:
    for step in stops:
        with monkeypatch.context() as patched:
            stop_at(step, pull_the_plug, patched.setattr)
            with pytest.raises(PowerCutError):
                train(tmp_path, stage)
    assert results(train(tmp_path, stage), stage) == uninterrupted[stage]


def test_killed_runs_go_on(tmp_path: Path, uninterrupted: Any) -> None:
    """Killed outright while the checkpoint of step 4 may be half written."""
    environment = {
        **os.environ, "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    command = [sys.executable, __file__, str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (-signal.SIGKILL, "")
    assert not (tmp_path / "model" / "codec.safetensors").exists()
    assert results(train(tmp_path, "codec"), "codec") == uninterrupted["codec"]


if __name__ == "__main__":  # what test_killed_runs_go_on kills
    stop_at(5, lambda: os.kill(os.getpid(), signal.SIGKILL), setattr)
    train(Path(sys.argv[1]), "codec")
