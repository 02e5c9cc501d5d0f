import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bark_jax.audio import AudioError, check_output, read_audio, write_audio

RATE = 24_000
SUFFIXES = (".wav", ".flac", ".ogg")


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
    np.testing.assert_allclose(read, waveform, atol=0.02 if suffix == ".ogg" else 2**-15)
    assert soundfile.info(path).subtype == ("VORBIS" if suffix == ".ogg" else "PCM_16")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("samples", [0, 1])
def test_tiny_clips_are_valid_files(tmp_path: Path, suffix: str, samples: int) -> None:
    write_audio(tmp_path / f"clip{suffix}", np.zeros(samples, np.float32), RATE)
    assert read_audio(tmp_path / f"clip{suffix}", RATE).tolist() == [0.0]


def test_long_vorbis_does_not_crash(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 120 * RATE).astype(np.float32)
    write_audio(tmp_path / "long.ogg", noise, RATE)
    assert soundfile.info(tmp_path / "long.ogg").frames == len(noise)


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
        ("clip.mp3", r"must end in \.wav, \.flac, \.ogg"),
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
    middle = slice(RATE // 10, -RATE // 10)  # a sine that starts from silence has no limited band
    np.testing.assert_allclose(read[middle], (sine(1000) + sine(3300))[middle], atol=5e-3)


def test_recordings_are_read(shared_data: Path) -> None:
    for path in sorted((shared_data / "speech").iterdir()):
        info = soundfile.info(path)
        read = read_audio(path, RATE)
        assert len(read) == -(-info.frames * RATE // info.samplerate)
        assert 0.05 < np.abs(read).max() < 1.1
