"""What `bark-jax say` makes besides audio: reports, figures, voices."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

from bark_jax import loading
from bark_jax.checkpoint import HubUnreachableError
from bark_jax.cli.progress import Bars
from bark_jax.config import BarkConfig
from bark_jax.layouts import NANO
from bark_jax.voices.library import find_voice
from bark_jax.voices.voice import VoiceMetadata

from test_cli import TINY, run
from voice_arrays import TINY as TINY_CONFIG


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_json_says_what_was_made_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "say", "Hello", "--json", "--quiet", "--top-k", "50", *TINY)
    report = json.loads(out)
    assert code == 0
    assert "s of audio" not in err
    assert report["seconds"] == soundfile.info(report["path"]).duration
    assert report["settings"]["semantic_top_k"] == 50
    assert report["real_time_factor"] == pytest.approx(sum(report["timings"].values()) / report["seconds"])
    assert set(report["versions"]) >= {"jax", "numpy", "python"}
    expected = {
        "path": "bark.wav", "figure": None, "saved_voice": None, "text": "Hello", "seed": 1, "model": "random:tiny",
        "voice": None, "dtype": "float32",
    }  # fmt: skip
    assert expected.items() <= report.items()


@pytest.mark.filterwarnings("always::bark_jax.generation.EmptyGeneration")
def test_json_of_an_empty_clip_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "say", "Hi", "--json", *TINY, "--min-eos-p", "1e-9", "--figure", "clip.png")
    report = json.loads(out)
    assert code == 0
    assert "before its first token" in err
    assert (report["seconds"], report["real_time_factor"], report["figure"]) == (0, None, "clip.png")


def test_verbose_tells_of_the_machine_and_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "say", "Hi", "--verbose", *TINY)
    assert (code, out) == (0, "")
    lines = {line[:13].strip(): line[15:] for line in err.splitlines()}
    assert lines["dtype"] == "float32"
    assert "programs" in lines["compilation"]
    assert "tokens/s" in lines["coarse"]
    assert {"device", "host", "compile cache", "versions", "loading", "peak memory"} <= lines.keys()
    assert "max_seconds 1.0" in lines["settings"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_are_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path, suffix: str) -> None:
    code, _, err = run(capsys, "say", "Hi", "--figure", f"clip.{suffix}", *TINY)
    assert code == 0
    assert err.splitlines()[-1] == f"clip.{suffix}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bark.wav", f"clip.{suffix}"]


def test_a_clip_becomes_a_voice_that_speaks(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    say = ["say", "Hallo", "--quiet", *TINY]
    assert run(capsys, *say, "--save-voice", "de")[0] == 0
    metadata = find_voice("de", None, TINY_CONFIG).metadata
    assert metadata == VoiceMetadata(model="random:tiny", seed=1, text="Hallo")
    code, _, err = run(capsys, *say, "--save-voice", "de")
    assert code == 2
    assert "--force" in err
    assert run(capsys, "voices", "save", "de", "de", "--language", "de", "--force", "--model", "random:tiny")[0] == 0
    code, out, _ = run(capsys, *say, "--voice", "de", "--json", "--save-voice", "de", "--force")
    assert (code, json.loads(out)["voice"]) == (0, "de")
    assert json.loads(out)["saved_voice"] == str(library / "de.npz")
    assert find_voice("de", None, TINY_CONFIG).metadata.language == "de"  # as that of the voice it continues


@pytest.mark.filterwarnings("always::bark_jax.generation.EmptyGeneration")
def test_an_empty_clip_is_not_kept(capsys: pytest.CaptureFixture[str], library: Path) -> None:
    code, _, err = run(capsys, "say", "Hi", *TINY, "--min-eos-p", "1e-9", "--save-voice", "me")
    assert code == 2
    assert "empty clip" in err.splitlines()[-1]
    assert not library.exists()


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub cannot be reached; folders and the built-in model are there."""

    def resolve(source: str, **options: Any) -> Path:
        if "/" in source:
            raise HubUnreachableError(f"there is no folder {source}, and the hub cannot be reached")
        return loading.resolve(source, **options)

    monkeypatch.setattr("bark_jax.cli.models.resolve", resolve)


@pytest.mark.usefixtures("no_hub")
def test_without_a_hub_the_command_that_works_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "say", "It's me", "--seed", "3")
    assert (code, out) == (4, "")
    assert err.startswith("bark-jax: there is no folder suno/bark-small, and the hub cannot be reached")
    assert """bark-jax say --model nano 'It'"'"'s me' --seed 3\n""" in err
    assert len(err.splitlines()) == 1
    assert not Path("bark.wav").exists()


@pytest.mark.usefixtures("no_hub")
def test_a_fallback_speaks_after_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "say", "Hello", "--fallback", NANO, "--json", "--quiet", "--max-seconds", "0.5")
    assert (code, json.loads(out)["model"]) == (0, NANO)
    assert err.startswith("warning: nano speaks instead, at 16 kHz: there is no folder suno/bark-small")
    assert len(err.splitlines()) == 1


@pytest.mark.filterwarnings("always::bark_jax.text.TextWarning")
def test_words_that_nano_was_not_taught_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = "Zoë's zebras don't sleep on the 4th at 7 o'clock"
    arguments = ["say", words, "--model", NANO, "-o", str(tmp_path / "a.wav"), "--max-seconds", "0.5"]
    warnings = [line for line in run(capsys, *arguments, "--quiet")[2].splitlines() if "trained" in line]
    assert warnings == ["warning: the model was not trained on Zoë's, zebras, sleep: expect other words there"]


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("voice", [["--voice", "nowhere.npz"], ["--speaker", "ANNA=v2/en_speaker_6"]])
def test_a_fallback_without_the_voice_is_refused(capsys: pytest.CaptureFixture[str], voice: list[str]) -> None:
    code, out, err = run(capsys, "say", "Hello", "--fallback", NANO, *voice)
    assert (code, out) == (4, "")
    said = f"bark-jax: there is no folder suno/bark-small.*the fallback, cannot speak either: .*{voice[1][5:]}.*\n"
    assert re.fullmatch(said, err)
    assert not Path("bark.wav").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


STEPS = [("semantic", 499, 700), ("coarse", 750, 1500), ("fine", 1, 4), ("codec", 750, 750)]


def shown_bars(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """All that a terminal is sent, between returns to the beginning of the line, by that many clips."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Bars(BarkConfig.small(), hidden=False) as bars:
        for _ in range(times):
            for stage, done, total in STEPS:
                bars.update(stage, 0, total)
                bars.update(stage, done, total)
    assert "\n" not in terminal.getvalue()  # one line, however many batches there are
    return terminal.getvalue().split("\r")


def test_bars_are_one_line_that_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = shown_bars(monkeypatch, 3)
    assert shown[-1].strip() == ""
    for (stage, _, _), seconds in zip(STEPS, (10.0, 5.0, 2.5, 10.0), strict=True):
        assert any(line.startswith(stage) and f"{seconds:.1f} s of audio" in line for line in shown)


def test_bars_end_at_the_end_of_a_clip_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    last = [line for line in shown_bars(monkeypatch, 1) if line.startswith("semantic")][-1]
    assert "100%" in last
    assert "499/499" in last


def test_bars_say_that_a_stage_is_compiled_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for times in (1, 2):
        compiling = [line for line in shown_bars(monkeypatch, times) if "compiling" in line]
        assert {line.split()[0].rstrip(":") for line in compiling} == {stage for stage, _, _ in STEPS}
        assert all("| 0/" in line for line in compiling)
        assert len(compiling) == len(set(compiling))


def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, hidden in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr("sys.stderr", stream)
        with Bars(BarkConfig.small(), hidden=hidden) as bars:
            for step in STEPS:
                bars.update(*step)
        assert stream.getvalue() == ""
