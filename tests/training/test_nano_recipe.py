"""The nano recipe beyond its sentences: sizes, speech, the judge, the report and the order of the steps."""

import csv
import math
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import bark_jax
from bark_jax import checkpoint
from bark_jax.audio import read_audio
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import parameter_shapes
from bark_jax.training import TrainingError, open_tokens
from recipes.nano import speech
from recipes.nano.config import nano_config
from recipes.nano.evaluate import Heard, make_report, read_speech, summarize
from recipes.nano.recipe import Recipe
from recipes.nano.recognizer import Recognizer
from recipes.nano.speech import SPEAKERS, TABLE, synthesize, take_turns, trim
from recipes.nano.tokenizer import make_tokenizer
from recipes.nano.word_errors import word_error_rate, word_errors

MOST_BYTES = 11_500_000  # of the model's parameters, two bytes each, so that the wheel has room for it

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")


def test_the_model_is_small_enough_to_ship() -> None:
    config = nano_config()
    shapes = [shape for name in NETWORKS for shape in parameter_shapes(config, name).values()]
    assert 2 * sum(map(math.prod, shapes)) <= MOST_BYTES


def test_the_package_does_without_the_recipe() -> None:
    """It is not in the wheel."""
    package = Path(bark_jax.__file__).parent
    assert not [path for path in package.rglob("*.py") if "recipes" in path.read_text(encoding="utf-8")]


def test_token_ids_have_no_gaps() -> None:
    config = nano_config()
    semantic, coarse, fine = config.semantic, config.coarse, config.fine
    assert semantic.gpt.input_vocab == semantic.vocab + 1 + make_tokenizer().get_vocab_size() + 2
    assert semantic.infer + 1 == semantic.gpt.input_vocab
    assert coarse.infer + 1 == coarse.gpt.input_vocab
    assert coarse.semantic_pad == coarse.gpt.output_vocab == semantic.vocab + 2 * config.codec.codebook_size
    assert fine.pad + 1 == fine.gpt.vocab == config.codec.codebook_size + 1


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("a b c", "a x c", 1),
        ("a b c", "b c d", 2),
        ("a b c d", "a c b d", 2),
    ],
)
def test_word_errors(said: str, heard: str, errors: int) -> None:
    assert word_errors(said.split(), heard.split()) == errors == word_errors(heard.split(), said.split())


def test_the_rate_is_of_all_words() -> None:
    assert word_error_rate([(["a"], ["b"]), (["a", "b", "c"], ["a", "b", "c"])]) == 0.25
    assert word_error_rate([(["a"], ["b", "c"])]) == 2
    with pytest.raises(ValueError, match="no word"):
        word_error_rate([([], ["a"])])


def test_speech_is_trimmed_to_its_words() -> None:
    rate, margin = 1000, round(speech.MARGIN * 1000)
    waveform = np.zeros(1000, np.float32)
    waveform[[300, 500]] = 0.5
    trimmed = trim(waveform, rate)
    assert np.flatnonzero(trimmed).tolist() == [margin, margin + 200]
    assert len(trimmed) == 201 + 2 * margin
    assert len(trim(np.zeros(1000, np.float32), rate)) == 2 * margin


def test_speakers_take_turns() -> None:
    turns = take_turns(["a", "b", "b"])
    assert [line.speaker for line in turns] == [SPEAKERS[0], SPEAKERS[1], SPEAKERS[0]]
    assert len({line.file for line in turns}) == 3


def test_a_missing_espeak_is_reported_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.shutil, "which", lambda program: None)
    with pytest.raises(TrainingError, match="apt install espeak-ng"):
        synthesize(take_turns(["Hello."]), tmp_path / "speech")
    assert not (tmp_path / "speech").exists()


@needs_espeak
def test_speech_is_written_once(tmp_path: Path) -> None:
    lines = take_turns(["It is 7:32.", "Hello, Anna!", "Yes."])
    synthesize(lines[:2], tmp_path)
    first = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.wav")}
    seen: list[tuple[int, int]] = []
    synthesize(lines, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(3, 3)]
    assert first.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.wav")}.items()
    assert {path.name for path in tmp_path.iterdir()} == {line.file for line in lines} | {TABLE}
    with (tmp_path / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"file": line.file, "text": line.text, "speaker": line.speaker.name} for line in lines]
    assert 0.5 < len(read_audio(tmp_path / lines[0].file, 24_000)) / 24_000 < 3


def test_a_sentence_that_espeak_cannot_speak_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in("#!/bin/sh\necho no sound >&2; exit 1\n", tmp_path, monkeypatch)
    with pytest.raises(TrainingError, match=r"cannot speak 'Hello\.'.*no sound"):
        synthesize(take_turns(["Hello."]), tmp_path / "speech")
    assert not list((tmp_path / "speech").iterdir())


def stand_in(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That program is espeak-ng from now on."""
    path = folder / "espeak-ng"
    path.write_text(program)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@needs_espeak
def test_the_recogniser_understands_espeak(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    synthesize(take_turns(["It is 7:32 on Monday.", "Turn left at the hospital."], [SPEAKERS[1]]), tmp_path)
    recognizer = Recognizer(sentences=10_000)
    heard = [" ".join(recognizer(one.waveform, one.sample_rate)) for one in read_speech(tmp_path, 24_000)]
    assert heard == ["it is seven thirty two on monday", "turn left at the hospital"]
    assert recognizer(np.zeros(24_000, np.float32), 24_000) != heard[0].split()


def test_speech_that_is_not_there_or_damaged_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no speech"):
        list(read_speech(tmp_path, 24_000))
    for table in ("file,text,speaker\na.wav,Hello.\n", "file,text,speaker\n"):
        (tmp_path / TABLE).write_text(table)
        with pytest.raises(TrainingError, match=rf"{TABLE} is damaged"):
            list(read_speech(tmp_path, 24_000))


def test_the_report_compares_with_espeak_by_speaker() -> None:
    def heard(*words: str) -> list[Heard]:
        said = [("It is 2:45.", "adam"), ("Yes, I see.", "eve")]
        return [Heard(text=t, speaker=s, words=w.split()) for (t, s), w in zip(said, words, strict=True)]

    espeak = heard("it is two forty five", "yes i see")
    report = make_report({"espeak": espeak, "codec": espeak, "nano": heard("it is two forty", "no you see")})
    assert report["word_error_rates"]["nano"] == {"all": 3 / 8, "adam": 1 / 5, "eve": 2 / 3}
    assert report["goals"]["codec"] == {"most": 0.03, "reached": True}
    assert report["goals"]["nano"] == {"most": 0.05, "reached": False}
    assert report["sentences"][1]["nano"] == "no you see"
    summary = re.sub(r" +", " ", summarize({"made": {"date": "2026-11-26", "jax": "0.10"}} | report))
    assert "\n\ndate 2026-11-26, jax 0.10:\n\n" in summary
    assert "| nano | 37.5% | 20.0% | 66.7% | 5.0% | missed |" in summary
    assert "| samples/0.ogg | adam | It is 2:45. | it is two forty |" in summary


def test_steps_make_what_is_missing_and_keep_what_is_there(tmp_path: Path) -> None:
    said: list[str] = []
    recipe = Recipe(to=tmp_path, sounds=300, words=20, held_out=5, say=said.append)
    recipe.run(["texts", "model"])
    config = checkpoint.read_config(tmp_path / "model")
    assert config == nano_config()
    assert (tmp_path / "model" / "tokenizer.json").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    recipe.run(["texts", "model"])
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert said == ["texts …", "model …"] * 2


def test_an_unknown_step_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no step sing: choose from texts, model"):
        Recipe(to=tmp_path).run(["sing"])


@pytest.mark.parametrize("name", ["sounds", "words", "held_out"])
def test_there_are_sentences_of_each_kind(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name} must be ≥ 1, not 0"):
        Recipe(to=tmp_path, **{name: 0})


BEEPS = f"""#!{sys.executable}
import math, random, sys, wave
from array import array

letters, rng = sys.stdin.buffer.read(), random.Random(0)  # a tone and noise for each
tones = ((400 + 50 * (letter % 32), i) for letter in letters for i in range(1000))
samples = array("h", (int(8000 * math.sin(tone * i / 3500) + rng.gauss(0, 1000)) for tone, i in tones))
with wave.open(sys.argv[sys.argv.index("-w") + 1], "wb") as file:
    file.setparams((1, 2, 22050, 0, "NONE", ""))
    file.writeframes(samples.tobytes())
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the model was not trained on")  # forty sentences do not hold every word
def test_the_whole_recipe_of_a_few_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tones for speech, so that nothing has to be installed."""
    stand_in(BEEPS, tmp_path, monkeypatch)
    shorten = ("train.steps=2", "train.warmup_steps=1", "batch=2", "schedule.sample_every=0", "schedule.held_out=0.1")
    recipe = Recipe(to=tmp_path, sounds=400, words=40, held_out=4, overrides=shorten, say=lambda line: None)
    recipe.run()
    assert len(open_tokens(tmp_path / "data" / "words", nano_config())) == 40
    assert {path.stem for path in (tmp_path / "nano" / "voices").glob("*.npz")} == {s.name for s in SPEAKERS}
    report = tmp_path / "report"
    assert "\n| nano " in (report / "report.md").read_text()
    assert {log.stem for log in (report / "training").iterdir()} == {*NETWORKS, "refine"}
