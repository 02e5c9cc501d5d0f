"""`python -m convert` and `bark-jax convert`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bark_jax.checkpoint import is_checkpoint
from bark_jax.convert import ConversionError
from bark_jax.convert.__main__ import main
from bark_jax.convert.source import Source

CHECKOUT = Path(__file__).resolve().parents[2]


def test_in_a_checkout(huggingface: Path, tmp_path: Path) -> None:
    """Without PyTorch: importing it would fail."""
    for name in ("torch", "transformers"):
        (tmp_path / "without" / name).mkdir(parents=True)
        (tmp_path / "without" / name / "__init__.py").write_text("raise ImportError('not installed')")
    command = [sys.executable, "-m", "convert", str(huggingface), str(tmp_path / "out")]
    environment = {"PYTHONPATH": str(tmp_path / "without"), "PATH": ""}
    done = subprocess.run([*command, "--verify"], cwd=CHECKOUT, env=environment, capture_output=True, text=True)
    assert done.returncode == 4
    assert "the checkpoint is written, but --verify needs torch and transformers" in done.stderr
    assert "Traceback" not in done.stderr
    assert "left out: attention masks (4), codebook training statistics (159)" in done.stderr
    assert is_checkpoint(tmp_path / "out")


def test_verify(huggingface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(source: Source, out: Path, *, progress: bool) -> None:
        assert source.folder == huggingface
        assert is_checkpoint(out)
        raise ConversionError("differs")

    monkeypatch.setattr("bark_jax.convert.verify.verify", differs)
    assert main([str(huggingface), str(tmp_path / "out"), "--verify"]) == 4


@pytest.mark.parametrize(
    ("step", "outcome"),
    [("conversion.convert_checkpoint", "was not written"), ("verify.verify", "holds a whole checkpoint")],
)
def test_interrupts(
    step: str,
    outcome: str,
    huggingface: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"bark_jax.convert.{step}", interrupted)
    assert main([str(huggingface), str(tmp_path / "out"), "--quiet", "--verify"]) == 130
    assert capsys.readouterr().err == f"bark-jax: interrupted; {tmp_path / 'out'} {outcome}\n"


def test_an_output_that_exists_names_the_switch(
    huggingface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text('{"format": "bark_jax"}')
    assert main([str(huggingface), str(tmp_path / "out"), "--quiet"]) == 4
    assert capsys.readouterr().err == f"bark-jax: {tmp_path / 'out'} exists already: --overwrite replaces it\n"


def test_quiet(huggingface: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([str(huggingface), str(tmp_path / "out"), "--quiet"]) == 0
    assert main([str(huggingface), str(tmp_path / "out"), "--quiet", "--overwrite"]) == 0
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{tmp}/absent", "{tmp}/out"], "neither a folder nor a hub repository"),
        (["~nobody-of-this-name/bark", "{tmp}/out"], "neither a folder nor a hub repository"),
        (["{source}", "{tmp}/out", "--tokenizer", "~nobody-of-this-name/x"], "neither a folder nor a hub repository"),
        (["{tmp}/empty", "{tmp}/out"], "no complete checkpoint"),
        (["{source}", "{tmp}/empty/file"], "exists already"),
        (["{source}", "{tmp}/empty/file/out"], "cannot write"),
        (["{source}", "{tmp}/out", "--tokenizer", "{tmp}/empty"], "there is no tokenizer"),
        (["{source}", "{tmp}/out", "--size", "small"], "Suno's small model lacks text.pt, coarse.pt, fine.pt"),
    ],
)
def test_errors(
    arguments: list[str], reason: str, huggingface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").touch()
    places = {"tmp": str(tmp_path), "source": str(huggingface)}
    assert main([*(argument.format(**places) for argument in arguments), "--quiet"]) == 4
    captured = capsys.readouterr()
    assert captured.err.startswith("bark-jax: ")
    assert reason in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_downloads(huggingface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source or tokenizer that is no path is a hub repository; only what is needed is asked for."""
    import bark_jax.convert.__main__ as command

    asked = []

    def download(repository: str, *, weights: list[str] | None, progress: bool) -> Path:
        asked.append((repository, weights))
        return huggingface

    monkeypatch.setattr(command, "download", download)
    assert main(["suno/bark-small", str(tmp_path / "out"), "--tokenizer", "owner/bert", "--quiet"]) == 0
    assert asked == [("suno/bark-small", None), ("owner/bert", ())]
    assert main(["suno/bark", str(tmp_path / "out"), "--size", "small", "--quiet"]) == 4
    assert asked[2] == ("suno/bark", ["text.pt", "coarse.pt", "fine.pt", "encodec_24khz-d7cc33bc.th"])


def test_hostile_file(huggingface: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"x": torch.ones(1), "hook": print}, huggingface / "pytorch_model.bin")
    assert main([str(huggingface), str(tmp_path / "out")]) == 4
    assert "pytorch_model.bin: its pickle wants to run" in capsys.readouterr().err
