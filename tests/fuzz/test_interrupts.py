"""`bark-jax say` interrupted in the middle of a stage: it ends soon, and leaves no file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SOON = 120  # seconds; a compilation in progress is finished first

SLOW = pytest.mark.slow


def interrupted(folder: Path, stage: str, number: signal.Signals) -> tuple[int, str]:
    """Exit code and standard error of a command that gets a signal once a stage has begun."""
    command = [sys.executable, "-m", "bark_jax", "say", "Hello", "-o", str(folder / "out.wav"), "--no-compile-cache"]
    command += ["--model", "random:tiny", "--seed", "1", "--min-eos-p", "1"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr
        said = b""
        while stage.encode() not in said:
            byte = process.stderr.read(1)
            assert byte, said.decode()
            said += byte
        process.send_signal(number)
        said += process.communicate(timeout=SOON)[1]
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    "stage", ["coarse", *(pytest.param(stage, marks=SLOW) for stage in ("semantic", "fine", "codec"))]
)
def test_ctrl_c_ends_it_cleanly(tmp_path: Path, stage: str) -> None:
    code, said = interrupted(tmp_path, stage, signal.SIGINT)
    assert code == 130
    assert said.splitlines()[-1] == "bark-jax: interrupted"
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["semantic", *(pytest.param(stage, marks=SLOW) for stage in ("fine", "codec"))])
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=SLOW)])
def test_being_killed_leaves_nothing(tmp_path: Path, stage: str, number: signal.Signals) -> None:
    code, _ = interrupted(tmp_path, stage, number)
    assert code == -number
    assert list(tmp_path.iterdir()) == []
