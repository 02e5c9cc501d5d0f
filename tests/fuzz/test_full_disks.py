"""Disks that fill up, and places that cannot be written to: an error that says so, and the old file stays as it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from bark_jax import Voice
from bark_jax.audio import AudioError, write_audio
from bark_jax.voices.voice import VoiceError

from full_disk import room_for
from fuzzing import Command, Fuzz

RATE = 24_000
WAVEFORM = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
CODES = np.zeros((8, 30), np.int32)
VOICE = Voice(semantic=np.zeros(20, np.int32), coarse=CODES[:2], fine=CODES)
OLD = b"an older file"
TINY = ("--model", "random:tiny", "--max-seconds", "0.5", "--seed", "1", "--quiet")

WRITERS: dict[str, tuple[Callable[[Path], None], type[Exception]]] = {
    "clip.wav": (lambda path: write_audio(path, WAVEFORM, RATE), AudioError),
    "clip.flac": (lambda path: write_audio(path, WAVEFORM, RATE), AudioError),
    "clip.ogg": (lambda path: write_audio(path, WAVEFORM, RATE), AudioError),
    "voice.npz": (VOICE.save, VoiceError),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_are_whole_or_not_there(fuzz: Fuzz, folder: Path, name: str) -> None:
    write, kind = WRITERS[name]
    path = folder / name
    write(path)
    whole = len(path.read_bytes())

    def check(size: int) -> None:
        path.write_bytes(OLD)
        with room_for(size), pytest.raises(kind, match=rf"{name}: .*File too large"):
            write(path)
        assert path.read_bytes() == OLD
        assert list(folder.iterdir()) == [path]

    sizes = st.one_of(st.integers(0, whole - 1), st.integers(1, min(whole, 300)).map(lambda lacking: whole - lacking))
    fuzz(check, 40, size=sizes)
    with room_for(whole):
        write(path)
    assert len(path.read_bytes()) == whole


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_say_tells_of_a_full_disk(command: Command, folder: Path, suffix: str) -> None:
    with room_for(100):
        code, message = command("say", "Hello", "-o", str(folder / f"out.{suffix}"), *TINY)
    assert code == 3
    assert f"out.{suffix}: [Errno 27] File too large" in message
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file/out.wav", "there is no folder"),
        ("nowhere/out.wav", "there is no folder"),
        ("loop/out.wav", "there is no folder"),
        ("folder.wav", "it is a folder"),
        ("{}.wav".format("x" * 300), "File name too long"),
        ("/proc/out.wav", "out.wav: "),  # where nobody can make a file, not even root
        ("/dev/full", "must end in"),
        ("\0.wav", "no file can have this name"),
        ("\ud800.wav", "no file can have this name"),
    ],
)
def test_what_cannot_be_written_is_named(folder: Path, command: Command, place: str, message: str) -> None:
    (folder / "file").touch()
    for suffix in ("wav", "npz"):
        (folder / f"folder.{suffix}").mkdir()
    (folder / "loop").symlink_to("loop")
    before = sorted(folder.rglob("*"))
    with pytest.raises(AudioError, match=f"cannot write .*{message}"):
        write_audio(folder / place, WAVEFORM, RATE)
    if place.isprintable():  # others cannot be arguments of a command
        code, said = command("say", "Hello", "-o", str(folder / place), *TINY)
        assert code == 3
        assert message in said
    if not place.startswith("/dev"):
        with pytest.raises(VoiceError, match="cannot write the voice"):
            VOICE.save((folder / place).with_suffix(".npz"))
    assert sorted(folder.rglob("*")) == before


def test_a_target_that_is_a_link_is_replaced_not_followed(folder: Path) -> None:
    (folder / "precious").write_bytes(OLD)
    (folder / "out.wav").symlink_to("precious")
    write_audio(folder / "out.wav", WAVEFORM, RATE)
    assert (folder / "precious").read_bytes() == OLD
    assert not (folder / "out.wav").is_symlink()
