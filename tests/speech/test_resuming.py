"""Speeches that are kept on disk while they are made: what an interruption leaves, and how the work continues."""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Settings, Speech, Voice
from bark_jax.audio import AudioError
from bark_jax.speech.report import SpeechError

TEXT = "One is here. [pause 0.1] Two is longer. [pause 0] Three.\n\nANNA: Four. [pause 0.2] Five ends it."
SETTINGS = Settings(max_seconds=1.3, min_eos_p=None)
SHORT: dict[str, Any] = {"voices": {"ANNA": None}, "settings": SETTINGS}


class Interrupted(Exception):
    """The work ends here."""


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def voice(bark: Bark) -> Voice:
    return bark.generate("A voice.", seed=5, max_seconds=1, allow_early_stop=False).as_voice(description="calm")


@pytest.fixture(autouse=True)
def every_piece_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bark_jax.speech.record._SHARE", math.inf)


def stop_after(count: int) -> Callable[[str, int, int], None]:
    def watch(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pieces", count):
            raise Interrupted

    return watch


def pieces_on_disk(report: Path) -> list[dict[str, Any]]:
    pieces: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["pieces"]
    return [{name: value for name, value in piece.items() if name != "timings"} for piece in pieces]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def spoken_pieces(speak: Callable[[Callable[[str, int, int], None]], object]) -> int:
    """In how many batches of semantic tokens, here of one piece each, something is spoken."""
    begun: list[str] = []
    speak(lambda stage, done, total: begun.append(stage) if done == 0 else None)
    return begun.count("semantic")


@pytest.mark.parametrize(
    ("delivery", "stopped"),
    [({}, 3), ({}, 5), ({"keep_voice": "rolling"}, 2), ({"best_of": 2}, 2), ({"batch_size": 2}, 3)],
)
def test_an_interrupted_speech_is_continued(
    bark: Bark, voice: Voice, tmp_path: Path, delivery: dict[str, Any], stopped: int
) -> None:
    kept = {"report": tmp_path / "report.json", "pieces": tmp_path / "pieces"}
    arguments = {"text": TEXT, "voice": voice, "seed": 1, **SHORT, **delivery}
    whole = bark.speak(**arguments)
    with pytest.raises(Interrupted):
        bark.speak(**arguments, **kept, progress=stop_after(stopped))
    assert len(pieces_on_disk(kept["report"])) == stopped
    assert len(files_of(kept["pieces"])) in (stopped - 1, stopped)  # the end of a piece comes with the next one
    del arguments["seed"]  # the report has it
    spoken = []
    batches = spoken_pieces(lambda watch: spoken.append(bark.speak(**arguments, **kept, progress=watch)))
    if not delivery:
        assert batches == 5 - stopped
    assert spoken == [whole]
    whole.save_report(tmp_path / "whole.json")
    whole.save_pieces(tmp_path / "whole")
    assert pieces_on_disk(kept["report"]) == pieces_on_disk(tmp_path / "whole.json")
    assert files_of(kept["pieces"]) == files_of(tmp_path / "whole")
    assert bark.load_speech(kept["report"]) == whole


@pytest.mark.parametrize("heard", [1, 4])
def test_a_stream_that_is_left_can_be_continued(bark: Bark, tmp_path: Path, heard: int) -> None:
    report = tmp_path / "report.json"
    arguments: dict[str, Any] = {"text": TEXT, "seed": 1, "report": report, **SHORT}
    chunks = iter(bark.stream(**arguments))
    for _ in range(heard):
        next(chunks)
    chunks.close()
    stream = bark.stream(**arguments)
    np.testing.assert_array_equal(np.concatenate(list(stream)), bark.speak(TEXT, seed=1, **SHORT).waveform)
    assert len(pieces_on_disk(report)) == 5


def test_every_piece_is_on_disk_once_it_is_made(bark: Bark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For who has no time to say goodbye; but a report that takes long to write is not written for each."""
    found: list[int] = []

    def watch(stage: str, done: int, total: int) -> None:
        if stage == "pieces" and done:
            found.append(len(pieces_on_disk(report)))

    report = tmp_path / "report.json"
    bark.speak(TEXT, report=report, seed=1, progress=watch, **SHORT)
    assert found == [1, 2, 3, 4, 5]
    monkeypatch.setattr("bark_jax.speech.record._SHARE", 1e-9)
    found.clear()
    report = tmp_path / "rare.json"
    bark.speak(TEXT, report=report, seed=1, progress=watch, **SHORT)
    assert found == [1] * 5
    assert len(pieces_on_disk(report)) == 5


@pytest.fixture(scope="module")
def finished(bark: Bark, voice: Voice, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Speech]:
    report = tmp_path_factory.mktemp("finished") / "report.json"
    return report, bark.speak(TEXT, voice, seed=1, report=report, **SHORT)


def test_a_text_may_grow(bark: Bark, voice: Voice, tmp_path: Path, finished: tuple[Path, Speech]) -> None:
    report = tmp_path / "report.json"
    report.write_bytes(finished[0].read_bytes())
    longer = TEXT + "\nANNA: Six is new."
    spoken: list[Speech] = []
    assert spoken_pieces(lambda w: spoken.append(bark.speak(longer, voice, report=report, progress=w, **SHORT))) == 1
    assert spoken == [bark.speak(longer, voice, seed=1, **SHORT)]
    assert len(pieces_on_disk(report)) == 6


def test_a_finished_speech_is_only_joined_again(bark: Bark, voice: Voice, finished: tuple[Path, Speech]) -> None:
    report, speech = finished
    before = report.read_bytes()
    spoken: list[Speech] = []
    assert spoken_pieces(lambda w: spoken.append(bark.speak(TEXT, voice, report=report, progress=w, **SHORT))) == 0
    assert spoken == [speech]
    assert report.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": TEXT.replace("Three", "Drei")}, "its piece 2 has another text"),
        ({"text": "One is here.", "voices": {}}, "it has 5 pieces, this text 1"),
        ({"text": TEXT.replace("ANNA", "BEN"), "voices": {"BEN": None}}, "its piece 3 has another speaker"),
        ({"seed": 2}, "its piece 0 has another seed"),
        ({"voice": None}, "its piece 0 has another voice"),
        ({"semantic_temperature": 0.6}, "its piece 0 has another settings"),
        ({"best_of": 2}, "its piece 0 has another number of takes"),
        ({"keep_voice": "rolling"}, "its piece 1 has another voice"),
    ],
)
def test_a_report_of_another_speech_is_refused(
    bark: Bark, voice: Voice, finished: tuple[Path, Speech], change: dict[str, Any], message: str
) -> None:
    report, _ = finished
    before = report.read_bytes()
    arguments = {"text": TEXT, "voice": voice, "report": report, **SHORT, **change}
    with pytest.raises(SpeechError, match=f"report.json is of another speech: {message}.*; give another file"):
        bark.stream(**arguments)
    assert report.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "refused"), [("here/other", True), (None, False), ("there/mine", False), ("here/mine", False)]
)
def test_a_report_of_another_model_is_refused(
    bark: Bark, voice: Voice, finished: tuple[Path, Speech], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str | None, refused: bool,
) -> None:  # fmt: skip
    report = tmp_path / "report.json"
    replace(finished[1], model=name and "here/mine").save_report(report)
    monkeypatch.setattr(bark.engine, "name", name)
    with pytest.raises(SpeechError, match="made by here/mine, not by here/other") if refused else nullcontext():
        bark.stream(TEXT, voice, report=report, **SHORT)


def test_what_is_no_report_is_not_replaced(bark: Bark, tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text("{}")
    with pytest.raises(SpeechError, match=r"cannot use the report .*notes\.json"):
        bark.speak(TEXT, report=path, **SHORT)
    assert path.read_text() == "{}"


def test_a_report_that_cannot_be_written_stops_before_the_work(bark: Bark, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpeechError, match="no folder"):
        bark.stream(TEXT, report=tmp_path / "nowhere" / "report.json", **SHORT)
    with pytest.raises(AudioError, match="cannot write into"):
        bark.stream(TEXT, pieces=tmp_path / "file", **SHORT)
