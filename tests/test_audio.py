import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bark_jax.audio import SUFFIXES, AudioError, check_output, read_audio, write_audio

RATE = 24_000
LOSSLESS = (".wav", ".flac")
MIDDLE = slice(RATE // 10, -RATE // 10)  # a sine that starts from silence has no limited band


def sine(hertz: float, rate: int = RATE, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".WAV"])
def test_written_audio_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_text("an older file")
    waveform = sine(440)
    write_audio(str(path), waveform, RATE)
    read = read_audio(path, RATE)
    assert (read.dtype, read.shape) == (np.float32, waveform.shape)
    middle = slice(0, None) if suffix.lower() in LOSSLESS else MIDDLE
    np.testing.assert_allclose(read[middle], waveform[middle], atol=2**-15 if suffix.lower() in LOSSLESS else 0.1)
    lossy = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
    assert soundfile.info(path).subtype == lossy.get(suffix, "PCM_16")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("samples", [0, 1])
def test_tiny_clips_are_valid_files(tmp_path: Path, suffix: str, samples: int) -> None:
    write_audio(tmp_path / f"clip{suffix}", np.zeros(samples, np.float32), RATE)
    np.testing.assert_allclose(read_audio(tmp_path / f"clip{suffix}", RATE), [0.0], atol=1e-3)


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3"])
def test_long_clips_do_not_crash_the_encoder(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 120 * RATE).astype(np.float32)
    write_audio(tmp_path / f"long{suffix}", noise, RATE)
    assert soundfile.info(tmp_path / f"long{suffix}").frames == len(noise)


@pytest.mark.parametrize("suffix", [".opus", ".mp3"])
@pytest.mark.parametrize(
    ("rate", "written"), [(16_000, 16_000), (22_000, {".opus": 24_000, ".mp3": 22_050}), (96_000, 48_000)]
)
def test_rates_that_a_format_lacks_are_resampled(tmp_path: Path, suffix: str, rate: int, written: Any) -> None:
    path = tmp_path / f"clip{suffix}"
    write_audio(path, sine(440, rate), rate)
    assert soundfile.info(path).samplerate == (written if isinstance(written, int) else written[suffix])
    np.testing.assert_allclose(read_audio(path, RATE)[MIDDLE], sine(440)[MIDDLE], atol=0.1)


def test_loud_samples_are_clipped(tmp_path: Path) -> None:
    write_audio(tmp_path / "clip.wav", np.array([-3, -1, 0.5, 1, 3], np.float32), RATE)
    np.testing.assert_allclose(read_audio(tmp_path / "clip.wav", RATE), [-1, -1, 0.5, 1, 1], atol=2**-14)


@pytest.mark.parametrize("waveform", [[0, np.nan], [np.inf], [[0.0], [0.0]], 0.0])
def test_unusable_waveforms_are_refused(tmp_path: Path, waveform: Any) -> None:
    with pytest.raises(AudioError, match=r"clip\.wav: the waveform"):
        write_audio(tmp_path / "clip.wav", np.array(waveform, np.float32), RATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip.m4a", r"must end in \.wav, \.flac, \.ogg, \.opus, \.mp3"),
        ("clip.waw", r"did you mean \.wav\?"),
        ("clip", "must end in"),
        ("", "must end in"),
        ("nowhere/clip.wav", "there is no folder .*nowhere"),
        ("file/clip.wav", "there is no folder .*file"),
        ("folder.wav", "it is a folder"),
        ("a" * 300 + ".wav", "too long"),
    ],
)
def test_unwritable_paths_are_refused_beforehand(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.wav").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for refuse in (lambda: check_output(tmp_path / name), lambda: write_audio(tmp_path / name, sine(440), RATE)):
        with pytest.raises(AudioError, match=f"^cannot write {tmp_path}.*{message}"):
            refuse()
    assert sorted(tmp_path.rglob("*")) == before


def test_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the user may be root, whom nothing is forbidden
    with pytest.raises(AudioError, match="no permission"):
        check_output(tmp_path / "clip.wav")


@pytest.mark.parametrize("error", [OSError("no space left"), soundfile.SoundFileRuntimeError("no space left")])
def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    path = tmp_path / "clip.wav"
    path.write_text("old")
    with pytest.raises(AudioError, match=r"clip\.wav: no space left"):
        write_audio(path, sine(440), RATE)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.array([[0.5, 0.25], [-0.5, 0.5]]), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "clip.wav", RATE), [0.375, 0])


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.wav", "there is no such file"), ("text.wav", "Format not recognised"), ("nan.wav", "not finite")],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "nan.wav", np.array([np.nan]), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"{name}: .*{message}"):
        read_audio(tmp_path / name, RATE)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 23_999, 44_100, 48_000])
def test_resampling_keeps_what_both_rates_can_hold(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "clip.wav", sine(1000, rate) + sine(3300, rate), rate, subtype="FLOAT")
    read = read_audio(tmp_path / "clip.wav", RATE)
    assert (read.dtype, read.shape) == (np.float32, (RATE,))
    np.testing.assert_allclose(read[MIDDLE], (sine(1000) + sine(3300))[MIDDLE], atol=5e-3)


def test_recordings_are_read(shared_data: Path) -> None:
    for path in sorted((shared_data / "speech").iterdir()):
        info = soundfile.info(path)
        read = read_audio(path, RATE)
        assert len(read) == -(-info.frames * RATE // info.samplerate)
        assert 0.05 < np.abs(read).max() < 1.1
