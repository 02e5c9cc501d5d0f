"""Long texts on random tiny weights: every piece is what it would be alone, and can be made again."""

import ctypes
import dataclasses
import gc
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
import pytest
import soundfile

from bark_jax import Bark, BarkConfig, Join, Settings, Speech, Voice
from bark_jax.audio import AudioError
from bark_jax.generation import EmptyGeneration, Tokens
from bark_jax.inputs import derive_seed
from bark_jax.measuring import compilations
from bark_jax.policy import Policy
from bark_jax.settings import SettingsError
from bark_jax.speech.report import SpeechError
from bark_jax.text import TextError
from bark_jax.voices.voice import VoiceError

TEXT = """The first one. [pause 0.1] The second is longer. [pause 0.2] Three.

ANNA: I am Anna. [pause 0] I say more.

BEN: I am Ben. [pause 0.5] So am I."""
SHORT: dict[str, Any] = {"seed": 1, "batch_size": 2, "settings": Settings(max_seconds=1.3, min_eos_p=None)}
CAST = {"ANNA": None, "BEN": None}


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def voice(bark: Bark) -> Voice:
    spoken = bark.generate("A voice.", seed=5, max_seconds=1, allow_early_stop=False).as_voice()
    return dataclasses.replace(spoken, name="mine")


@pytest.fixture(scope="module")
def speech(bark: Bark) -> Speech:
    return bark.speak(TEXT, voices=CAST, **SHORT)


def names(speech: Speech) -> list[str | None]:
    return [said.voice and said.voice.name for said in speech.pieces]


def assert_same(ours: Speech, theirs: Speech) -> None:
    np.testing.assert_array_equal(ours.waveform, theirs.waveform)
    for our, their in zip(ours.pieces, theirs.pieces, strict=True):
        assert (our.piece, our.seed, our.take, our.settings) == (their.piece, their.seed, their.take, their.settings)
        assert (our.start, our.end) == (their.start, their.end)
        for tokens, others in zip(our.tokens, their.tokens, strict=True):
            np.testing.assert_array_equal(tokens, others)


def test_pieces_come_in_order_with_their_pauses(speech: Speech) -> None:
    texts = ["The first one.", "The second is longer.", "Three.", "I am Anna.", "I say more.", "I am Ben.", "So am I."]
    assert [said.piece.text for said in speech.pieces] == texts
    assert [said.piece.speaker for said in speech.pieces] == [None] * 3 + ["ANNA"] * 2 + ["BEN"] * 2
    end, overlap = 0.0, 0.0
    for said in speech.pieces:
        assert said.start == pytest.approx(end - overlap)
        assert said.end > said.start
        end = said.end + said.piece.pause
        overlap = 0 if said.piece.pause else speech.join.fade
    assert speech.seconds == pytest.approx(end)
    assert {0, 0.1, 0.2, 0.5} <= {said.piece.pause for said in speech.pieces}
    assert set(speech.timings) == {"semantic", "coarse", "fine", "codec"}
    assert speech.time_to_first_audio > 0


def test_every_piece_is_what_it_would_be_alone(bark: Bark, speech: Speech) -> None:
    for index, said in enumerate(speech.pieces):
        assert said.seed == derive_seed(1, index)
        alone = bark.generate(said.piece.text, said.voice, seed=said.seed, settings=said.settings)
        np.testing.assert_array_equal(alone.semantic, said.tokens.semantic)
        np.testing.assert_array_equal(alone.fine, said.tokens.fine)


def test_batches_change_nothing(bark: Bark, speech: Speech) -> None:
    assert_same(bark.speak(TEXT, voices=CAST, **{**SHORT, "batch_size": 1}), speech)


@pytest.mark.parametrize(
    ("keep_voice", "given", "expected"),
    [
        ("fixed", False, [None, "piece 0", "piece 0", None, "piece 3", None, "piece 5"]),
        ("fixed", True, ["mine"] * 3 + [None, "piece 3"] + ["mine"] * 2),
        ("first", False, [None, "piece 0", "piece 0", None, "piece 3", None, "piece 5"]),
        ("first", True, ["mine", "piece 0", "piece 0", None, "piece 3", "mine", "piece 5"]),
        ("rolling", True, ["mine", "piece 0", "piece 1", None, "piece 3", "mine", "piece 5"]),
    ],
)
def test_every_speaker_keeps_his_voice(
    bark: Bark, voice: Voice, keep_voice: str, given: bool, expected: list[str | None]
) -> None:
    own = voice if given else None
    speech = bark.speak(TEXT, own, voices={"ANNA": None, "BEN": own}, keep_voice=keep_voice, **SHORT)
    assert names(speech) == expected
    for said in speech.pieces:
        if said.voice and said.voice.name != "mine":
            origin = speech.pieces[int(said.voice.name.removeprefix("piece "))]
            np.testing.assert_array_equal(said.voice.fine, origin.tokens.fine)


def test_what_is_too_short_is_no_voice(bark: Bark) -> None:
    tiny = Settings(max_seconds=0.4, min_eos_p=None)
    assert names(bark.speak("One. [pause] Two. [pause] Three.", **{**SHORT, "settings": tiny})) == [None] * 3


def test_another_length_of_text_compiles_nothing(bark: Bark, voice: Voice, speech: Speech) -> None:
    with compilations() as compiled:
        bark.speak("One. [pause] Two. [pause] Three. [pause] Four. [pause] Five.", voice, **SHORT)
        bark.speak("One.", **SHORT)
    assert compiled == []


@pytest.fixture
def batches(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows every batch has, of an engine that makes nothing of them."""
    sizes: list[int] = []
    made = Tokens(*(np.ones(shape, np.int32) for shape in (4, (2, 6), (8, 6))))

    def generate_tokens(ids: Any, options: Any, progress: Any) -> tuple[list[Tokens], dict[str, float]]:
        sizes.append(len(ids))
        return [made] * len(ids), {}

    monkeypatch.setattr(bark.engine, "generate_tokens", generate_tokens)
    monkeypatch.setattr(bark.engine, "score_semantic", lambda ids, semantic, options: [-1.0] * len(ids))
    return sizes


@pytest.mark.parametrize(
    ("device", "streamed", "delivery", "expected"),
    [
        ("cpu", False, {}, [1] * 7),
        ("cpu", False, {"best_of": 2}, [1] * 14),
        ("cpu", False, {"batch_size": 2}, [2, 2, 2, 1]),
        ("gpu", False, {}, [4, 4]),
        ("gpu", True, {}, [1, 4, 2]),
        ("gpu", False, {"batch_size": 8}, [8]),
        ("gpu", False, {"batch_size": 5}, [5, 2]),
        ("gpu", False, {"best_of": 2, "batch_size": 2}, [2] * 7),
        ("gpu", False, {"best_of": 2, "batch_size": 8}, [8, 8]),
    ],
)
def test_batches_are_of_few_sizes(
    bark: Bark, voice: Voice, batches: list[int], monkeypatch: pytest.MonkeyPatch, device: str, streamed: bool,
    delivery: dict[str, Any], expected: list[int],
) -> None:  # fmt: skip
    """Seven pieces in one voice: by default one at a time on CPUs, 4 elsewhere; a stream begins with one."""
    rows = Policy.of_platform(device).batch_size
    monkeypatch.setattr(bark.engine, "policy", dataclasses.replace(bark.engine.policy, batch_size=rows))
    text = " [pause] ".join(["One."] * 7)
    if streamed:
        list(bark.stream(text, voice, seed=1, **delivery))
    else:
        bark.speak(text, voice, seed=1, **delivery)
    assert batches == expected


def test_the_best_of_several_takes_is_kept(bark: Bark) -> None:
    text = "The first one. [pause] The second is longer. [pause] Three."
    best = bark.speak(text, best_of=2, **SHORT)
    for index, said in enumerate(best.pieces):
        assert said.seed == derive_seed(1, index, said.take)
        assert said.score.seed == said.seed
        ranked = bark.best_of(said.piece.text, 2, said.voice, seed=1, settings=said.settings)
        if index == 0:
            assert ranked.best.seed == said.seed
            assert ranked.scores[0].total == pytest.approx(said.score.total, rel=1e-5)
    assert "ranking" in best.timings


def test_an_empty_piece_is_warned_of_and_skipped(bark: Bark) -> None:
    with pytest.warns(EmptyGeneration, match="piece . .seed .* before its first token") as warned:
        speech = bark.speak("One. [pause 1] Two.", seed=1, min_eos_p=1e-9)
    assert len(warned) == 2
    assert [said.end - said.start for said in speech.pieces] == [0, 0]
    assert speech.seconds == 1
    assert speech.srt() == ""


def test_joins_obey_their_rules(bark: Bark, speech: Speech) -> None:
    loose = bark.speak(TEXT, voices=CAST, join=Join(fade=0.1, keep=1, silence_db=-200), **SHORT)
    for tight, said in zip(speech.pieces, loose.pieces, strict=True):
        np.testing.assert_array_equal(tight.tokens.fine, said.tokens.fine)
        assert said.end - said.start == pytest.approx(said.tokens.fine.shape[1] / 75)


def test_a_speech_is_described_in_a_line_and_has_a_player(speech: Speech) -> None:
    described = repr(speech)
    assert described.startswith("Speech('The first one. The second is longer.")
    assert f"7 pieces, {speech.seconds:.2f} s at 24000 Hz, seed 1" in described
    assert all(len(line) < 200 and line.isprintable() for line in (described, *map(repr, speech.pieces)))
    assert "<audio controls" in speech._repr_html_()
    assert "7 pieces" in speech._repr_html_()


def test_speeches_are_equal_by_content(speech: Speech) -> None:
    copy = dataclasses.replace(speech, waveform=speech.waveform.copy(), time_to_first_audio=9.0)
    assert copy == speech
    assert hash(copy) == hash(speech)
    assert dataclasses.replace(speech, pieces=speech.pieces[:-1]) != speech
    assert speech.clip(0) == speech.clip(0) != speech.clip(1)
    assert speech.clip(0).waveform.base is None


def test_the_beginning_of_a_speech_is_one(bark: Bark, speech: Speech) -> None:
    """Of a stream that was left before, in and after its first piece."""
    chunks: list[np.ndarray] = []
    stream = bark.stream(TEXT, voices=CAST, **SHORT)
    parts = iter(stream)
    while len(stream.pieces) < 2:
        beginning = stream.speech(chunks)
        count = len(beginning.pieces)
        assert beginning.text == "\n".join(said.piece.text for said in speech.pieces[:count])
        tokens = [said.tokens.semantic for said in beginning.pieces]
        np.testing.assert_array_equal(beginning.tokens.semantic, np.concatenate([*tokens, np.zeros(0, np.int32)]))
        timeline = beginning.timeline(bark.config)
        assert timeline.fine.shape == (8, math.ceil(beginning.seconds * 75))
        assert [tokens.dtype for tokens in beginning.tokens] == [np.int32] * 3
        assert len(beginning.report()["pieces"]) == count
        assert "Speech(" in repr(beginning)
        assert beginning.srt().count("-->") == count
        chunks.append(next(parts))
    parts.close()


def test_files(speech: Speech, tmp_path: Path) -> None:
    speech.save(tmp_path / "all.wav")
    assert soundfile.info(tmp_path / "all.wav").frames == len(speech.waveform)
    paths = speech.save_pieces(tmp_path / "new" / "pieces")
    assert [path.name for path in paths] == [f"{i:03}.wav" for i in range(7)]
    for path, said in zip(paths, speech.pieces, strict=True):
        assert soundfile.info(path).duration == pytest.approx(said.end - said.start)
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="file"):
        speech.save_pieces(tmp_path / "file")


def test_subtitles_say_who_says_what_when(speech: Speech) -> None:
    assert speech.srt().startswith("1\n00:00:00,000 --> 00:00:01,")
    assert "ANNA: I am Anna." in speech.srt()
    assert "<v BEN>I am Ben." in speech.vtt()


def test_the_report_is_json(speech: Speech) -> None:
    report = json.loads(json.dumps(speech.report(), allow_nan=False))
    assert report["pieces"][4]["voice"] == "piece 3"
    assert report["pieces"][4]["settings"]["max_seconds"] == 1.3
    assert report["versions"]["jax"] == jax.__version__
    assert {"text", "speaker", "seed", "take", "start", "end", "frames", "timings"} <= report["pieces"][0].keys()


def test_a_saved_speech_comes_back(bark: Bark, voice: Voice, tmp_path: Path) -> None:
    speech = bark.speak("One. [pause] Two.\nANNA: Three.", voice, voices={"ANNA": None}, best_of=2, **SHORT)
    speech.save_report(tmp_path / "report.json")
    again = bark.load_speech(tmp_path / "report.json")
    assert_same(again, speech)
    assert names(again) == ["mine", "mine", None]
    assert (again.seed, again.join, again.lead) == (speech.seed, speech.join, speech.lead)
    assert [said.score for said in again.pieces] == [said.score for said in speech.pieces]
    made = dataclasses.replace(speech, model="mine")
    made.save_report(tmp_path / "report.json")
    again = bark.load_speech(tmp_path / "report.json")
    assert again.model == again.clip(0).model == again.clip(0).as_voice().metadata.model == "mine"


@pytest.mark.parametrize("from_file", [False, True])
def test_one_piece_is_spoken_again(bark: Bark, speech: Speech, tmp_path: Path, from_file: bool) -> None:
    source: Speech | Path = speech
    if from_file:
        source = tmp_path / "report.json"
        speech.save_report(source)
    other = bark.respeak(source, 3)
    old, new = speech.pieces[3], other.pieces[3]
    assert (new.take, new.seed) == (1, derive_seed(1, 3, take=1))
    assert not np.array_equal(new.tokens.fine, old.tokens.fine)
    before, after = (round(t * 24_000) for t in (old.start, old.end))
    np.testing.assert_array_equal(other.waveform[:before], speech.waveform[:before])
    rest = len(speech.waveform) - after
    np.testing.assert_array_equal(other.waveform[-rest:], speech.waveform[-rest:])
    assert_same(bark.respeak(other, 3, seed=old.seed), dataclasses.replace(speech, pieces=(
        *speech.pieces[:3], dataclasses.replace(old, take=2), *speech.pieces[4:])))  # fmt: skip


def test_a_piece_may_get_another_text_and_other_settings(bark: Bark, speech: Speech) -> None:
    other = bark.respeak(speech, 0, text="  Something   else. ", max_seconds=0.5)
    assert other.pieces[0].piece.text == "Something else."
    assert other.pieces[0].end == pytest.approx(0.5, abs=0.1)
    assert [said.seed for said in other.pieces[1:]] == [said.seed for said in speech.pieces[1:]]


def damage(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def rewrite(path: Path) -> None:
        report = json.loads(path.read_text(encoding="utf-8"))
        change(report)
        path.write_text(json.dumps(report), encoding="utf-8")

    return rewrite


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text("{"), "Expecting"),
        (lambda path: path.write_text("[" * 10**5), "recursion"),
        (lambda path: path.write_bytes(b"\xff"), "decode"),
        (lambda path: path.write_text("[]"), "indices"),
        (damage(lambda r: r.update(format="bark_jax speech 9")), "speech 9"),
        (damage(lambda r: r.pop("join")), "there is no 'join'"),
        (damage(lambda r: r["join"].update(fade=7)), "fade"),
        (damage(lambda r: r.update(lead=1e12)), "silence"),
        (damage(lambda r: r.update(model=3)), "its model is not a name"),
        (damage(lambda r: r["pieces"][0].update(seed="1")), "seed"),
        (damage(lambda r: r["pieces"][0].update(text=1)), "not a string"),
        (damage(lambda r: r["pieces"][0].update(pause=-1)), "silence"),
        (damage(lambda r: r["pieces"][0].update(voice_number=9)), "range"),
        (damage(lambda r: r["pieces"][0]["settings"].update(speed=2)), "unknown setting speed"),
        (damage(lambda r: r["pieces"][0]["tokens"].update(semantic=["1 200"])), "199"),
        (damage(lambda r: r["pieces"][0]["tokens"].update(fine=["1 2", "3"])), "inhomogeneous"),
        (damage(lambda r: r["voices"][0].update(semantic=[""])), "piece 0 cannot be used"),
    ],
)
def test_a_bad_report_is_named(bark: Bark, speech: Speech, tmp_path: Path, harm: Any, message: str) -> None:
    path = tmp_path / "report.json"
    speech.save_report(path)
    harm(path)
    with pytest.raises(SpeechError, match=message) as raised:
        bark.load_speech(path)
    assert str(path) in str(raised.value)


def test_a_report_that_cannot_be_written_is_named(speech: Speech, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="no folder"):
        speech.save_report(tmp_path / "missing" / "report.json")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"text": " "}, TextError, "empty"),
        ({"keep_voice": "sometimes"}, SettingsError, "keep_voice must be one of"),
        ({"batch_size": 0}, SettingsError, "batch_size must be"),
        ({"best_of": 1.5}, SettingsError, "best_of must be"),
        ({"join": 3}, SettingsError, "join must be a Join"),
        ({"tempo": 3}, SettingsError, "unknown setting tempo"),
        ({"langauge": "en"}, SettingsError, "did you mean language"),
        ({"seed": -2}, SettingsError, "seed must be"),
        ({"voice": "en_speaker_3"}, VoiceError, "en_speaker_3"),
        ({"voices": {"ANNA": "en_speaker_3"}}, VoiceError, "en_speaker_3"),
        ({"voices": ["ANNA"]}, VoiceError, "voices must be a mapping"),
    ],
)
def test_bad_input_is_named(bark: Bark, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        bark.speak(**{"text": "One.", **arguments})
    if isinstance(arguments.get("voices"), dict):
        assert raised.value.__notes__ == ["This is about the voice of ANNA."]


@pytest.mark.parametrize("piece", [-1, 7, 1.0])
def test_a_piece_that_is_not_there_is_named(bark: Bark, speech: Speech, piece: Any) -> None:
    with pytest.raises(SpeechError, match=f"no piece {piece}: the speech has pieces 0 … 6"):
        bark.respeak(speech, piece)


@pytest.mark.slow
def test_a_long_text_needs_no_more_memory_than_a_short_one() -> None:
    """2000 words as a stream, which keeps no audio: the second half and more of them leave no trace but tokens.

    In a process of its own: what other tests have left in the allocator comes and goes.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds, resident = pool.submit(speak_2000_words).result()
    assert seconds > 600
    quarter = len(resident) // 4
    growth = np.median(resident[-quarter:]) - np.median(resident[quarter : 2 * quarter])
    assert growth < 32, f"MiB: {resident}"  # the audio between the two is 38


def speak_2000_words() -> tuple[float, list[float]]:
    """Seconds of audio that were streamed, and the MiB that were resident after every tenth piece."""
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))
    words = np.random.default_rng(0).choice(["and", "birds", "sing", "over", "mountains"], 2000)
    text = ". ".join(" ".join(words[i : i + 10]).capitalize() for i in range(0, len(words), 10)) + "."
    assert len(text.split()) == 2000
    process, seconds, resident = psutil.Process(os.getpid()), 0.0, []
    stream = bark.stream(text, seed=1, max_seconds=4, allow_early_stop=False)
    for chunk in stream:
        seconds += len(chunk) / stream.sample_rate
        if not resident or len(stream.pieces) >= 10 * len(resident):
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps is not the speech's
            resident.append(process.memory_info().rss / 2**20)
    return seconds, resident
