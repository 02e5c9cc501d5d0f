"""`bark-jax respeak`: one piece of a text again, with its audio and its report."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import Bark
from bark_jax.text import TextWarning

from test_cli import run

MAKE = ["say", "One. [pause 0.2] Two.", "--model", "random:tiny", "--seed", "1", "--max-seconds", "0.5", "--quiet"]


@pytest.fixture
def story(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, *MAKE, "--report", "story.json", "-o", "story.wav")[0] == 0
    return Path("story.json")


def test_one_piece_is_spoken_again(capsys: pytest.CaptureFixture[str], story: Path) -> None:
    bark = Bark.from_pretrained("random:tiny")
    expected = bark.respeak(story, 1, text="Three.")
    before = story.read_text()
    options = ["-o", "again.wav", "--srt", "again.srt", "--pieces", "pieces"]
    code, out, err = run(capsys, "respeak", "story.json", "1", "--text", "Three.", "--report", "again.json", *options)
    assert (code, out) == (0, ""), err
    assert f"take 1, seed {expected.pieces[1].seed}" in err
    assert story.read_text() == before
    samples, _ = soundfile.read("again.wav", dtype="int16")
    assert samples.tobytes() == (np.frombuffer(expected.wav_bytes()[44:], "<i2")).tobytes()
    assert "Three." in Path("again.srt").read_text()
    assert len(list(Path("pieces").iterdir())) == 2
    assert bark.load_speech("again.json") == expected
    assert run(capsys, "respeak", "story.json", "1", "--text", "Three.", "--quiet") == (
        0,
        "",
        err.splitlines()[0] + "\n",
    )
    assert bark.load_speech(story) == expected  # the report is replaced
    assert json.loads(story.read_text())["model"] == "random:tiny"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing.json", "0"], 3, "cannot read the report missing.json: No such file"),
        (["story.wav", "0"], 3, "story.wav is not a report of"),
        (["story.json", "2"], 2, "there is no piece 2: story.json has pieces 0 … 1"),
        (["story.json", "-1"], 2, "there is no piece -1"),
        (["story.json", "0", "--text", " "], 2, "the text is empty"),
        (["story.json", "0", "--text", "[pause]"], 2, "nothing in the text can be spoken"),
        (["story.json", "0", "--text", "👍"], 2, "nothing to say"),
        (["story.json", "0", "-o", "a.wav", "--vtt", "a.wav"], 2, "--output and --vtt would both write a.wav"),
        (["story.json", "0", "-o", "a.xyz"], 3, "must end in .wav"),
        (["story.json", "0", "--report", "no/folder/a.json"], 3, "there is no folder no/folder"),
        (["story.json", "0", "--max-seconds", "0.01"], 2, "max_seconds must be"),
    ],
)
def test_what_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], story: Path, arguments: list[str], code: int, message: str
) -> None:
    before = story.read_text()
    found, out, err = run(capsys, "respeak", *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert story.read_text() == before


def test_the_new_text_is_cleaned_and_its_marks_are_named(story: Path) -> None:
    bark = Bark.from_pretrained("random:tiny")
    with pytest.warns(TextWarning, match=r"read out .*\[pause 2\]"):
        speech = bark.respeak(story, 1, text="[pause 2] Don’t **go**.", max_seconds=0.1)
    assert speech.pieces[1].piece.text == "[pause 2] Don't go."
    plain = bark.respeak(story, 1, text="**go**", clean=False, max_seconds=0.1)
    assert plain.pieces[1].piece.text == "**go**"
