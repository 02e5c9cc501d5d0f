"""The built-in model from end to end: a recogniser that nobody here wrote hears the words that were asked for.

Sampling, caches, windows, long texts and streams are tested here on a model that means something: it stops by itself,
and keeps its voice from one window to the next.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

import recipes.nano
from bark_jax import Bark, Generation
from bark_jax.audio import Waveform, read_audio
from bark_jax.layouts import NANO
from bark_jax.loading import resolve
from recipes.nano.evaluate import REPORT, SAMPLE_COUNT, SAMPLES
from recipes.nano.recognizer import Recognizer
from recipes.nano.speech import SPEAKERS
from recipes.nano.texts import spoken_words
from recipes.nano.word_errors import word_error_rate

Pitches: TypeAlias = npt.NDArray[np.float64]  # [N] Hz

VOICES = [speaker.name for speaker in SPEAKERS]
SENTENCES = ["It is seven thirty two on Monday.", "The weather is cold and windy today.", "Turn left at the hospital."]
CLIPS = [(text, voice) for text in SENTENCES for voice in VOICES]
LONG = "It is half past nine. My name is Mary and I am from London. We will meet at noon. The door is open."
MOST_ERRORS = 0.2  # of the words
WHEEL = 12_000_000  # bytes that the model may add to it


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_pretrained(NANO)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(sentences=20_000)


@pytest.fixture(scope="module")
def clips(bark: Bark) -> list[Generation]:
    """Every sentence by every voice, one batch."""
    texts, voices = zip(*CLIPS, strict=True)
    return bark.generate(texts, voices, seed=list(range(len(texts))))


def pitch(waveform: Waveform, rate: int) -> float:
    """The median of the fundamental frequencies, Hz, of 64 ms at a time, where there is sound."""
    length = round(0.064 * rate)
    frames = waveform[: len(waveform) // length * length].reshape(-1, length)
    frames = frames[frames.std(axis=1) > 0.3 * waveform.std()] * np.hanning(length)
    spectra = np.abs(np.fft.rfft(frames, 2 * length)) ** 2
    correlations = np.fft.irfft(spectra)[:, rate // 350 : rate // 60]
    return float(np.median(rate / (correlations.argmax(axis=1) + rate // 350)))


def test_the_words_are_there(clips: list[Generation], recognizer: Recognizer) -> None:
    heard = [recognizer(clip.waveform, clip.sample_rate) for clip in clips]
    said = [spoken_words(text) for text, _ in CLIPS]
    assert word_error_rate(zip(said, heard, strict=True)) <= MOST_ERRORS, heard
    for words, other in zip(said, heard[2:] + heard[:2], strict=True):  # what a neighbour says is something else
        assert word_error_rate([(words, other)]) > 2 * MOST_ERRORS


def test_it_stops_by_itself(bark: Bark, clips: list[Generation]) -> None:
    for clip in clips:
        assert 1 < len(clip.waveform) / clip.sample_rate < 4
        assert len(clip.semantic) < bark.config.semantic.max_new


def test_eve_is_the_default_voice(bark: Bark, clips: list[Generation]) -> None:
    text, voice = CLIPS[1]
    assert voice == "eve"
    clip = bark.generate(text, seed=1)
    np.testing.assert_array_equal(clip.semantic, clips[1].semantic)
    assert clip.as_voice().metadata.model == NANO
    assert not np.array_equal(bark.generate(text, "none", seed=1).semantic, clip.semantic)


def test_speakers_without_a_voice_keep_their_own(bark: Bark) -> None:
    speech = bark.speak("Hello.\nANNA: It is cold.", voices={"ANNA": None}, seed=0, max_seconds=0.5)
    assert [said.voice and said.voice.name for said in speech.pieces] == ["eve", None]
    assert speech.clip(0).as_voice().metadata.model == NANO
    again = bark.respeak(speech, 1, seed=speech.pieces[1].seed)
    assert again.pieces[1].voice is None
    np.testing.assert_array_equal(again.pieces[1].tokens.semantic, speech.pieces[1].tokens.semantic)


def test_a_clip_of_a_batch_is_what_it_is_alone(bark: Bark, clips: list[Generation]) -> None:
    for index in (0, len(CLIPS) - 1):
        text, voice = CLIPS[index]
        alone = bark.generate(text, voice, seed=index)
        np.testing.assert_array_equal(alone.fine, clips[index].fine)


@pytest.fixture(scope="module")
def pitches(clips: list[Generation]) -> dict[str, Pitches]:
    """Those of the halves of every clip, by voice."""
    found: dict[str, list[float]] = {voice: [] for voice in VOICES}
    for clip, (_, voice) in zip(clips, CLIPS, strict=True):
        found[voice] += [pitch(half, clip.sample_rate) for half in np.array_split(clip.waveform, 2)]
    return {voice: np.array(values) for voice, values in found.items()}


@pytest.fixture(scope="module")
def border(pitches: dict[str, Pitches]) -> float:
    """Between the pitches of the two voices, Hz."""
    return float(np.sqrt(np.prod([np.median(values) for values in pitches.values()])))


def test_voices_differ_and_stay(pitches: dict[str, Pitches], border: float) -> None:
    adam, eve = pitches.values()
    assert np.median(adam) * 1.2 < np.median(eve), pitches
    assert np.mean(adam < border) > 0.8, pitches
    assert np.mean(eve > border) > 0.8, pitches


def test_a_long_text_is_said_whole_in_one_voice(bark: Bark, recognizer: Recognizer, border: float) -> None:
    speech = bark.speak(LONG, "adam", seed=1)
    words = [word for said in speech.pieces for word in spoken_words(said.piece.text)]
    assert words == spoken_words(LONG)
    spoken = [speech.clip(index) for index in range(len(speech.pieces))]
    heard = [recognizer(clip.waveform, clip.sample_rate) for clip in spoken]
    pairs = [(spoken_words(said.piece.text), one) for said, one in zip(speech.pieces, heard, strict=True)]
    assert len(speech.pieces) == 4
    assert word_error_rate(pairs) <= MOST_ERRORS, heard
    assert max(pitch(clip.waveform, clip.sample_rate) for clip in spoken) < border
    np.testing.assert_array_equal(np.concatenate(list(bark.stream(LONG, "adam", seed=1))), speech.waveform)


def test_without_a_network_it_speaks_instead(tmp_path: Path, recognizer: Recognizer) -> None:
    """The hub's settings are read on import: a process of its own."""
    output = tmp_path / "hello.wav"
    command = [sys.executable, "-m", "bark_jax", "say", SENTENCES[0], "-o", str(output), "--seed", "1", "--json"]
    command += ["--fallback", NANO]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "JAX_PLATFORMS": "cpu"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == NANO
    assert "nano is the small built-in model" in done.stderr
    assert "--model suno/bark-small" in done.stderr
    heard = recognizer(*soundfile.read(output, dtype="float32"))
    assert word_error_rate([(spoken_words(SENTENCES[0]), heard)]) <= MOST_ERRORS, heard


def test_it_fits_the_package_and_brings_its_voices_and_report(bark: Bark) -> None:
    folder = resolve(NANO)
    shipped = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in shipped) < WHEEL
    assert sorted(path.stem for path in (folder / "voices").glob("*.npz")) == VOICES
    recipe = Path(recipes.nano.__file__).with_name("report")
    report = json.loads((recipe / REPORT).read_text())
    assert all(goal["reached"] for goal in report["goals"].values())
    samples = sorted((recipe / SAMPLES).iterdir())
    assert len(samples) == SAMPLE_COUNT
    for sample, sentence in zip(samples, report["sentences"], strict=False):
        seconds = len(read_audio(sample, 16_000)) / 16_000
        assert 0.15 < seconds / len(spoken_words(sentence["text"])) < 1.2
