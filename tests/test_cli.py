"""The command line: what it writes, where, and how it fails."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from bark_jax import engine
from bark_jax.cli import main

TINY = ["--model", "random:tiny", "--seed", "1", "--max-seconds", "1"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    try:
        code = main(arguments)
    except SystemExit as exit_:  # argparse's own
        code = int(exit_.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_say_writes_audio_and_says_where(capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"hello{suffix}"
    code, out, err = run(capsys, "say", "Hello", "-o", str(output), *TINY)
    assert (code, out) == (0, "")
    assert soundfile.info(str(output)).samplerate == 24_000
    assert str(output) in err
    assert "s of audio, real-time factor" in err
    assert "noise" in err
    assert all(stage in err for stage in ("semantic", "coarse", "fine", "codec"))


def test_the_text_may_come_from_a_file_or_standard_input(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Grüße\n", encoding="utf-8")
    sources = {"argument": ["Grüße"], "file": ["--file", str(text)], "stdin": [], "dash": ["--file", "-"]}
    for name, source in sources.items():
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
        assert run(capsys, "say", *source, "-o", str(tmp_path / f"{name}.wav"), *TINY, "--quiet")[0] == 0
    assert len({(tmp_path / f"{name}.wav").read_bytes() for name in sources}) == 1


def test_settings_reach_the_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    greedy = ["--temperature", "0", "--fine-temperature", "0", "--min-eos-p", "1"]
    outputs = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for seed, output in enumerate(outputs):
        arguments = ["--model", "random:tiny", "--seed", str(seed), "--max-seconds", "1", *greedy]
        assert run(capsys, "say", "Hello", "-o", str(output), *arguments)[0] == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["say", "", *TINY], 2, "the text is empty"),
        (["say", "Hi", "--file", "x.txt", *TINY], 2, "not both"),
        (["say", "--file", "missing.txt", *TINY], 2, "missing.txt"),
        (["say", "Hi", "--voice", "v2/en_speaker_77", *TINY], 2, "v2/en_speaker_7"),
        (["say", "Hi", "--voice", "missing.npz", *TINY], 2, "missing.npz"),
        (["say", "Hi", "--temperature", "-1", *TINY], 2, "semantic_temperature"),
        (["say", "Hi", "--top-p", "0", *TINY], 2, "semantic_top_p"),
        (["say", "Hi", *TINY, "--seed", "x"], 2, "--seed"),
        (["say", "Hi", *TINY, "--seed", "99999999999999999999"], 2, "seed must be"),
        (["say", "Hi", "-o", "hello.m4a", *TINY], 3, ".wav, .flac, .ogg"),
        (["say", "Hi", "-o", "no/such/folder/hello.wav", *TINY], 3, "no/such/folder"),
        (["say", "Hi", "--model", "random:huge"], 4, "huge"),
        (["say", "Hi", "--model", "not a model"], 4, "--model nano"),
        (["voices", "--model", "no/such/model/at all"], 4, "neither a folder nor a hub repository"),
        ([], 2, "COMMAND"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_not_utf8(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    code, _, err = run(capsys, "say", "--file", str(tmp_path / "latin.txt"), *TINY)
    assert code == 2
    assert "latin.txt is not UTF-8" in err


def test_a_folder_that_is_no_checkpoint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "say", "Hi", "--model", str(tmp_path))
    assert code == 4
    assert "holds no Bark checkpoint" in err


@pytest.mark.slow
def test_a_real_size_speaks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Sizes of suno/bark-small."""
    output = tmp_path / "hello.wav"
    command = ["say", "Hello, my name is Suno.", "-o", str(output), "--model", "random:small", "--max-seconds", "2"]
    assert run(capsys, *command)[0] == 0
    assert 0 < soundfile.info(str(output)).duration <= 2


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m bark_jax voices | head -n 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == "adam"
    assert "Error" not in result.stderr


def test_voices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "voices")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert len(names) == 2 + 271
    assert {"adam", "eve", "announcer", "speaker_9", "v2/en_speaker_6"} <= set(names)
    assert run(capsys, "voices", "--model", "random:tiny")[:2] == (0, "")


def test_an_interrupt_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(engine._GENERATORS, "coarse", interrupt)
    code, _, err = run(capsys, "say", "Hi", "-o", str(tmp_path / "a.wav"), *TINY)
    assert code == 130
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []
