"""`bark-jax say` with texts of any length, heard while they are made."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import Bark
from bark_jax.audio import pcm_bytes
from bark_jax.cli import main

from test_cli import run

TEXT = "Dr. Brown is here.\n\nANNA: Have you seen it? [pause 0.2] The light, I mean.\n"
TINY = ["--model", "random:tiny", "--seed", "1", "--max-seconds", "0.5", "--quiet"]


def pcm(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == 24_000
    return samples


def test_a_long_text_is_spoken_in_pieces_with_all_that_was_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = {"--srt": "a.srt", "--vtt": "a.vtt", "--report": "a.json", "--pieces": "pieces", "--figure": "a.png"}
    options = [part for option, name in asked.items() for part in (option, str(tmp_path / name))]
    output, voice = tmp_path / "a.wav", tmp_path / "a.npz"
    code, out, err = run(
        capsys, "say", "One. [pause 0.2] Two. [pause 0.3] Three.", "-o", str(output), "--json", "--force",
        "--save-voice", str(voice), *options, *TINY,
    )  # fmt: skip
    assert code == 0, err
    made = json.loads(out)
    assert [piece["text"] for piece in made["speech"]] == ["One.", "Two.", "Three."]
    assert made["seconds"] == pytest.approx(len(pcm(output)) / 24_000)
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == ["000.wav", "001.wav", "002.wav"]
    assert (tmp_path / "a.srt").read_text().startswith("1\n00:00:00,000 --> ")
    assert (tmp_path / "a.vtt").read_text().startswith("WEBVTT")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    bark = Bark.from_pretrained("random:tiny")
    speech = bark.load_speech(tmp_path / "a.json")
    np.testing.assert_array_equal(bark.find_voice(str(voice)).fine, speech.pieces[0].tokens.fine)


def test_a_stream_is_what_is_written(capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> None:
    output = tmp_path / "a.wav"
    arguments = ["say", TEXT, "--speaker", "ANNA=random", "--stream", "-", "-o", str(output), *TINY]
    assert main(arguments) == 2  # there is no such voice
    assert b"ANNA" in capsysbinary.readouterr().err
    voice = tmp_path / "anna.npz"
    clip = Bark.from_pretrained("random:tiny").generate("Anna", seed=3, max_seconds=1, allow_early_stop=False)
    clip.as_voice().save(voice)
    arguments[3] = f"ANNA={voice}"
    assert main(arguments) == 0
    streamed = np.frombuffer(capsysbinary.readouterr().out, "<i2")
    assert len(streamed) > 24_000 // 2
    np.testing.assert_array_equal(streamed, pcm(output))


def test_playing_feeds_a_player(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_player(tmp_path, monkeypatch, "echo $@ > arguments\ncat > played")
    code, _, err = run(capsys, "say", "One. [pause 0.2] Two.", "--play", *TINY)
    assert code == 0, err
    assert "-r 24000" in (tmp_path / "arguments").read_text()
    expected = Bark.from_pretrained("random:tiny").speak("One. [pause 0.2] Two.", seed=1, max_seconds=0.5)
    assert (tmp_path / "played").read_bytes() == pcm_bytes(expected.waveform)
    assert not (tmp_path / "bark.wav").exists()


LONG = "One. [pause 3] Two. [pause 3] Three. [pause 3] Four."
"""Ten seconds of samples are more than a pipe holds."""


@pytest.fixture(scope="module")
def spoken() -> bytes:
    return pcm_bytes(Bark.from_pretrained("random:tiny").speak(LONG, seed=1, max_seconds=0.5).waveform)


def fake_player(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    player = folder / "bin" / "aplay"
    player.parent.mkdir()
    player.write_text(f"#!/bin/sh\n{script}\n")
    player.chmod(player.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{player.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("leaves", "how"),
    [
        ("exit 0", "stopped playing"),
        ("head -c 1000 > heard", "stopped playing"),
        ("head -c 1000 > heard; exit 123", "exit code 123"),
        ("head -c 1000 > heard; kill -9 $$", "signal 9"),
        ("cat > heard; exit 1", "exit code 1"),
    ],
)
def test_a_player_that_leaves_early_costs_no_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoken: bytes,
    leaves: str, how: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    fake_player(tmp_path, monkeypatch, leaves)
    code, _, err = run(capsys, "say", LONG, "--play", "-o", "a.wav", "--srt", "a.srt", *TINY)
    assert code == 6, err
    assert how in err
    assert "Written in full: a.wav, a.srt." in err
    assert len(err.splitlines()) == 2  # that and the warning of noise
    assert pcm(Path("a.wav")).tobytes() == spoken
    assert Path("a.srt").read_text().count("-->") == 4


def test_a_player_that_leaves_early_ends_a_run_that_writes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_player(tmp_path, monkeypatch, "exit 1")
    code, _, err = run(capsys, "say", LONG, "--play", *TINY)
    assert code == 6
    assert err.splitlines()[-1] == "bark-jax: aplay stopped playing before the end (exit code 1)."
    assert not Path("bark.wav").exists()


@pytest.mark.parametrize("output", [["-o", "a.wav"], []])
def test_a_reader_that_leaves_early_costs_no_file(tmp_path: Path, spoken: bytes, output: list[str]) -> None:
    command = [sys.executable, "-m", "bark_jax", "say", LONG, "--stream", "-", *output, *TINY]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1000) == spoken[:1000]
        process.stdout.close()
        err = process.stderr.read().decode()
    assert (process.returncode, len(err.splitlines())) == (6, 2), err
    assert "standard output was closed by its reader before the end" in err
    assert [path.name for path in tmp_path.iterdir()] == output[1:]
    assert not output or pcm(tmp_path / "a.wav").tobytes() == spoken


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that only Linux has")
def test_a_stream_that_cannot_be_written_costs_no_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, spoken: bytes
) -> None:
    code, _, err = run(capsys, "say", LONG, "--stream", "/dev/full", "-o", str(tmp_path / "a.wav"), *TINY)
    assert code == 3
    assert "cannot write /dev/full: No space left on device" in err
    assert pcm(tmp_path / "a.wav").tobytes() == spoken


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--speaker", "ANNA="], 2, "'ANNA=' is not NAME or NAME=VOICE"),
        (["--speaker", "ANNA", "--speaker", "ANNA=a.npz"], 2, "--speaker names ANNA more than once"),
        (["--language", "xx"], 2, "invalid choice: 'xx'"),
        (["--batch-size", "0"], 2, "batch_size must be an integer ≥ 1"),
        (["--best-of", "-1"], 2, "best_of must be an integer ≥ 1"),
        (["--stream", "-", "--json"], 2, "both write to standard output"),
        (["--stream", "/nowhere/a.pcm"], 3, "cannot write /nowhere/a.pcm"),
        (["--srt", "/nowhere/a.srt"], 3, "cannot write /nowhere/a.srt"),
        (["--report", "/nowhere/a.json"], 3, "cannot write /nowhere/a.json"),
    ],
)
def test_bad_options_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    found, _, err = run(capsys, "say", TEXT, "-o", str(tmp_path / "a.wav"), *options, *TINY)
    assert (found, message in err) == (code, True), err
    assert list(tmp_path.iterdir()) == []


def test_without_a_player_the_remedy_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, _, err = run(capsys, "say", "One.", "--play", *TINY)
    assert code == 3
    assert "there is no player: install one of aplay" in err


def test_an_interrupted_command_is_continued_by_the_same_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pieces", 2):
            raise KeyboardInterrupt

    text, output, report = "One. [pause 0.2] Two. [pause 0.3] Three.", tmp_path / "a.wav", tmp_path / "a.json"
    command = ["say", text, "-o", str(output), "--report", str(report), "--pieces", str(tmp_path / "pieces")]
    command += ["--model", "random:tiny", "--max-seconds", "0.5", "--quiet"]  # without a seed, which the report has
    with monkeypatch.context() as context:
        context.setattr("bark_jax.cli.progress.Bars.update", interrupt)
        code, _, err = run(capsys, *command)
    assert code == 130
    assert f"{report} has what was made" in err
    assert not output.exists()
    kept = json.loads(report.read_text())
    assert len(kept["pieces"]) == 2
    code, _, err = run(capsys, *command)
    assert code == 0, err
    expected = Bark.from_pretrained("random:tiny").speak(text, seed=kept["seed"], max_seconds=0.5)
    assert output.read_bytes() == expected.wav_bytes()
    assert len(list((tmp_path / "pieces").iterdir())) == 3
    command[1] = "Other."
    code, _, err = run(capsys, *command)
    assert code == 3
    assert "a.json is of another speech" in err
    assert output.read_bytes() == expected.wav_bytes()
    code, _, err = run(capsys, *command, "--force")
    assert code == 0, err
    assert [piece["text"] for piece in json.loads(report.read_text())["pieces"]] == ["Other."]


@pytest.mark.filterwarnings("always::bark_jax.text.TextWarning")
def test_a_text_is_cleaned_and_its_language_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = ["-o", str(tmp_path / "a.wav"), "--json", "--verbose", *TINY[:-1]]
    code, out, err = run(capsys, "say", "**Guten** Morgen “Tom” 🎉 [pause 2]", "--language", "de", *output)
    assert code == 0, err
    (piece,) = json.loads(out)["speech"]
    assert (piece["text"], piece["pause"]) == ('Guten Morgen "Tom"', 2)
    assert "warning: emoji that are not spoken: 🎉" in err.splitlines()
    assert "language       de, as given" in err.splitlines()
    code, out, err = run(capsys, "say", "**Guten** Morgen 🎉", "--no-clean", *output)
    assert code == 0, err
    assert json.loads(out)["text"] == "**Guten** Morgen 🎉"
    assert "warning: the tokenizer does not know 🎉" in err
    code, _, err = run(capsys, "say", "🎉", *output)
    assert code == 2
    assert "nothing to say" in err
