"""How much random input a test tries, and what all of them try it on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from bark_jax import Bark, BarkConfig
from bark_jax.cli import main

from fuzzing import Command, Fuzz

THOROUGH = 4  # times as many examples in the slow run


@pytest.fixture(params=[1, pytest.param(THOROUGH, marks=pytest.mark.slow)], ids=["quick", "thorough"])
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    """Run a check on that number of examples of its arguments: the same every time, more in the slow run."""

    def run(check: Callable[..., None], examples: int, **arguments: SearchStrategy[Any]) -> None:
        rules = settings(
            max_examples=examples * request.param, derandomize=True, database=None, deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )  # fmt: skip
        rules(given(**arguments)(check))()

    return run


@pytest.fixture(scope="session")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in which no temporary file may be left."""
    yield tmp_path
    assert not list(tmp_path.glob(".partial-*"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `bark-jax` in this process: its exit code, and what it said on standard error."""

    def run(*arguments: str) -> tuple[int, str]:
        try:
            code = main(arguments)
        except SystemExit as exit_:  # argparse's own
            code = int(exit_.code or 0)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err
        return code, captured.err

    return run
