"""`bark-jax say` interrupted in the middle of a stage: it ends soon, and leaves no file."""

import contextlib
import gc
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bark_jax import engine
from bark_jax.interrupts import remembering_ctrl_c

from fuzzing import Command

SOON = 120  # seconds; a compilation in progress is finished first

SLOW = pytest.mark.slow

pytestmark = pytest.mark.usefixtures("ctrl_c_is_heard")


def interrupted(folder: Path, stage: str, number: signal.Signals) -> tuple[int, str]:
    """Exit code and standard error, a terminal with progress bars, of a command that gets a signal during a stage."""
    command = [sys.executable, "-m", "bark_jax", "say", "Hello", "-o", str(folder / "out.wav"), "--no-compile-cache"]
    command += ["--model", "random:tiny", "--seed", "1", "--min-eos-p", "1"]
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    with subprocess.Popen(command, stderr=terminal, env=os.environ | {"JAX_PLATFORMS": "cpu"}) as process:
        os.close(terminal)
        said = b""
        while stage.encode() not in said:
            said += os.read(screen, 1)
        process.send_signal(number)
        with contextlib.suppress(OSError):  # the end
            while more := os.read(screen, 1024):
                said += more
        process.wait(SOON)
    os.close(screen)
    return process.returncode, said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    "stage", ["coarse", *(pytest.param(stage, marks=SLOW) for stage in ("semantic", "fine", "codec"))]
)
def test_ctrl_c_ends_it_cleanly(tmp_path: Path, stage: str) -> None:
    code, said = interrupted(tmp_path, stage, signal.SIGINT)
    assert code == 130
    assert said.endswith("bark-jax: interrupted\n")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["semantic", *(pytest.param(stage, marks=SLOW) for stage in ("fine", "codec"))])
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=SLOW)])
def test_being_killed_leaves_nothing(tmp_path: Path, stage: str, number: signal.Signals) -> None:
    code, _ = interrupted(tmp_path, stage, number)
    assert code == -number
    assert list(tmp_path.iterdir()) == []


def ctrl_c(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


def discarded() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        ctrl_c()


def in_the_garbage_collector() -> None:
    """As JAX has it: what a callback raises is only reported."""
    gc.callbacks.append(ctrl_c)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(ctrl_c)


@pytest.mark.parametrize("lose", [discarded, in_the_garbage_collector])
def test_a_lost_ctrl_c_is_raised_again(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lose: Callable[[], None]
) -> None:
    generate = engine._GENERATORS["coarse"]

    def losing(*arguments: Any, **options: Any) -> Any:
        lose()
        return generate(*arguments, **options)

    monkeypatch.setitem(engine._GENERATORS, "coarse", losing)
    output = str(tmp_path / "out.wav")
    code, said = command("say", "Hello", "-o", output, "--model", "random:tiny", "--seed", "1", "--max-seconds", "0.1")
    assert (code, said.splitlines()[-1]) == (130, "bark-jax: interrupted")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, ctrl_c])
def test_other_handlers_stay(handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        with remembering_ctrl_c() as raise_again:
            assert signal.getsignal(signal.SIGINT) is handler
            raise_again()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
