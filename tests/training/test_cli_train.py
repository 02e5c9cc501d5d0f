"""`bark-jax train`: what it says, writes, and how it fails."""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bark_jax.cli import main

from small import run_config, tones

TOML = """
model = "model"
data = "data"
run = "run"
batch = 4
seconds = 0.27
[train]
steps = 6
warmup_steps = 1
learning_rate = 0.01
weight_decay = 0
average_decay = 0.15
[train.codec]
windows = [16]
dropout = 0.0
[schedule]
log_every = 3
validate_every = 6
sample_every = 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model and a configuration; the data are some tones."""
    run_config(tmp_path)
    (tmp_path / "codec.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bark_jax.training.run.open_audio", lambda folder, config: tones())
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Exit code and what was said; nothing goes to standard output."""
    try:
        code = main(["train", *arguments])
    except SystemExit as exit_:  # argparse's own
        code = int(exit_.code or 0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return code, captured.err.splitlines()


def test_a_network_is_trained(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, lines = run(capsys, "codec", "--config", "codec.toml")
    assert code == 0
    assert lines[0].endswith("held out; run starts from random weights")
    assert [line.split()[1] for line in lines[1:-1]] == ["3/6", "6/6", "6/6"]
    assert lines[-1] == "codec is trained: model/codec.safetensors"
    assert run(capsys, "codec", "--config", "codec.toml")[1][0].endswith("run resumes at step 6")
    assert run(capsys, "codec", "--config", "codec.toml", "--set", "batch=8")[0] == 2
    code, lines = run(capsys, "codec", "--config", "codec.toml", "--restart", "--set", "schedule.log_every=6")
    assert (code, len(lines), lines[-1]) == (0, 4, "codec is trained: model/codec.safetensors")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["codec"], 2, "--config"),
        (["speech", "--config", "codec.toml"], 2, "invalid choice: 'speech'"),
        (["codec", "--config", "missing.toml"], 2, "cannot read missing.toml"),
        (["codec", "--config", "codec.toml", "--set", "train.stepz=1"], 2, "stepz"),
        (["codec", "--config", "codec.toml", "--set", "model=nothing"], 4, "nothing is not a converted checkpoint"),
        (["fine", "--config", "codec.toml"], 2, "data holds no training data"),
        (["codec", "--config", "codec.toml", "--set", "lora.rank=2"], 2, "need a checkpoint to adapt"),
        (["codec", "--config", "codec.toml", "--set", "run=codec.toml/run"], 3, "cannot write to codec.toml/run"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], code: int, message: str
) -> None:
    found, lines = run(capsys, *arguments)
    assert found == code
    assert message in lines[-1]
    assert not (folder / "model" / "codec.safetensors").exists()


def test_training_that_diverges(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = [np.full(300, 1e30, np.float32)] * 4
    monkeypatch.setattr("bark_jax.training.run.open_audio", lambda folder, config: loud)
    code, lines = run(capsys, "codec", "--config", "codec.toml")
    assert code == 5
    assert "step 0 has the loss" in lines[-1]
    assert lines[-1].endswith("start again (--restart); no checkpoint was saved yet")


def test_an_interrupt_is_reported_in_a_line(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_jax.training.run.noticing_ctrl_c", lambda tell: contextlib.nullcontext(lambda: True))
    code, lines = run(capsys, "codec", "--config", "codec.toml")
    assert code == 130
    assert lines[-1].startswith("bark-jax: interrupted: step 1 is saved in ")


def test_other_commands_do_not_pay_for_training() -> None:
    """Its libraries take seconds to import."""
    program = "import sys, bark_jax.cli; print(sorted({'grain', 'orbax', 'tensorboardX'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
