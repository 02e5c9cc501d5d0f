"""Recordings of every kind, and what is said of them, before any network hears them."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax.audio import AudioError
from bark_jax.hearing.cloning import RecordingError, listen
from bark_jax.hearing.measuring import measure
from bark_jax.hearing.recordings import from_samples, read_recording
from bark_jax.hearing.stretch import LEVEL, choose_stretch

RATE = 16_000


def speech(seconds: float, rate: int = RATE, pitch: float = 120, seed: int = 0) -> np.ndarray:
    """Like speech to the measurements: voiced words of 0.5 s with pauses of 0.2 s, noise 40 dB below."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.05 * np.sin(2 * np.pi * 1.3 * time))) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    words = (time % 0.7) < 0.5
    noise = np.random.default_rng(seed).normal(0, 1e-3, len(time))
    return (0.15 * voice * words + noise).astype(np.float32)


def test_speech_is_cut_between_words_and_levelled() -> None:
    heard = listen((np.concatenate([np.zeros(RATE), speech(30), np.zeros(RATE)]).astype(np.float32), RATE), RATE)
    assert 5 <= heard.stretch.end - heard.stretch.start <= 12.2
    assert heard.stretch.between_words
    assert heard.stretch.start >= 0.88
    after = (heard.stretch.end - 1) % 0.7  # a tenth of a second of the pause is kept
    assert 0.5 < after < 0.7
    within = measure(heard.waveform, RATE)
    assert np.sqrt(np.mean(10 ** (within.levels[within.active] / 10))) == pytest.approx(10 ** (LEVEL / 20), rel=0.1)
    assert not heard.advice


def test_a_short_recording_is_only_trimmed() -> None:
    samples = np.concatenate([np.zeros(RATE), speech(6.2), np.zeros(RATE)]).astype(np.float32)
    stretch = choose_stretch(measure(samples, RATE))
    assert stretch.start == pytest.approx(0.9, abs=0.03)
    assert stretch.end == pytest.approx(1 + 6.1 + 0.1, abs=0.05)


def test_the_stretch_may_be_chosen() -> None:
    heard = listen((speech(20), RATE), RATE, start=3, end=9.5)
    assert (heard.stretch.start, heard.stretch.end) == (3, 9.5)
    with pytest.raises(AudioError, match=r"20\.00 s long: there is no part from 19 to 30 s"):
        listen((speech(20), RATE), RATE, start=19, end=30)


def two_speakers() -> np.ndarray:
    return np.concatenate([speech(5, pitch=100), speech(5, pitch=220)])


@pytest.mark.parametrize(
    ("samples", "advice"),
    [
        (speech(1.9), r"it is short: 1\.\d s"),
        (np.clip(speech(8) * 8, -1, 1), r"it is clipped: \d+\.\d% of its samples"),
        (
            speech(8) + np.random.default_rng(1).normal(0, 0.02, 8 * RATE),
            r"it is noisy: 1\d dB between speech and noise",
        ),
        (two_speakers(), r"several speakers: their pitches lie 1\.\d octaves apart"),
        (np.stack([speech(8), np.zeros(8 * RATE)], 1), "1 of 2 channels are silent: the others are heard"),
        (np.stack([speech(8), -speech(8)], 1), "its channels cancel each other"),
    ],
)
def test_advice_has_its_figure(samples: np.ndarray, advice: str) -> None:
    heard = listen((samples.astype(np.float32), RATE), RATE)
    (said,) = heard.advice
    assert np.isfinite(heard.waveform).all()
    assert re.search(advice, said)


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (np.zeros(8 * RATE), "silent"),
        (np.zeros(1), "silent"),
        (np.zeros(0), "there is no part|silent"),
        (speech(0.6), r"only 0\.\d s of speech"),
        (np.random.default_rng(0).normal(0, 0.1, 8 * RATE), "sounds like noise"),
        (np.sin(np.arange(8 * RATE) / 20) * 0.3, "sounds like music"),
    ],
)
def test_what_cannot_be_a_voice_is_refused(samples: np.ndarray, problem: str) -> None:
    with pytest.raises((RecordingError, AudioError), match=problem):
        listen((samples.astype(np.float32), RATE), RATE)


def test_force_tries_all_but_silence() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * RATE).astype(np.float32)
    assert "sounds like noise" in " ".join(listen((noise, RATE), RATE, force=True).advice)
    with pytest.raises(RecordingError, match="silent"):
        listen((np.zeros(RATE, np.float32), RATE), RATE, force=True)


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (96_000, 2), (44_100, 7)])
def test_files_of_any_rate_and_channels(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.repeat(speech(6, rate)[:, None], channels, 1), rate)
    heard = listen(path, RATE)
    assert heard.recording.sample_rate == RATE
    assert heard.recording.seconds == pytest.approx(6, abs=1e-3)
    assert any("nothing above 4000 Hz" in note for note in heard.advice) == (rate == 8_000)


def test_an_hour_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_U8") as file:
        minute = speech(60, 8_000)
        for _ in range(60):
            file.write(minute)
    recording = read_recording(path, 8_000)
    assert recording.seconds == 600
    assert "only the first 10 of 60 minutes are heard" in recording.notes[0]
    assert read_recording(path, 8_000, start=3590, end=3600).seconds == 10


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.wav", b"not a sound", r"ffmpeg -i a\.wav a\.wav"),
        ("film.mp4", b"\0\0\0\x18ftypmp42" + bytes(64), r"ffmpeg -i film\.mp4 film\.wav"),
        ("empty.flac", b"", "no audio that libsndfile knows"),
        ("cut.wav", b"RIFF\x24\0\0\0WAVEfmt ", "no audio that libsndfile knows"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=problem):
        read_recording(tmp_path / name, RATE)
    with pytest.raises(AudioError, match="no such file"):
        read_recording(tmp_path / "nowhere.wav", RATE)


def test_samples_that_are_no_recording_are_refused() -> None:
    for bad in (np.zeros(8, np.int16), np.zeros((2, 2, 2)), np.full(RATE, np.nan)):
        with pytest.raises(AudioError):
            from_samples(bad, RATE, RATE)
    with pytest.raises(RecordingError, match=r"a path or \(waveform, Hz\)"):
        listen(np.zeros(8), RATE)


def test_real_speech_needs_no_advice(shared_data: Path) -> None:
    for name in ("jfk.flac", "lv0870.wav", "lv0890.wav"):
        assert not listen(shared_data / "speech" / name, RATE).advice
    with pytest.raises(RecordingError, match="sounds like music"):
        listen(shared_data / "speech" / "encodec_test_24k.wav", RATE)
