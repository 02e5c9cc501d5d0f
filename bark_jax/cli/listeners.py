"""Whoever hears the audio while it is made: a pipe, a file of raw samples, a player.

A listener may leave early: the reader of a pipe has seen enough, a player is closed, a disk is full. Files that were
asked for are written whole all the same, and the exit code says what happened.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bark_jax.audio import AudioError, Waveform, pcm_bytes
from bark_jax.cli.console import drop_output
from bark_jax.errors import BarkError, ListenerLeft
from bark_jax.files import check_writable

STDOUT = "-"
_STDOUT_NAME = "standard output"

PLAYERS = {  # of raw PCM from standard input; the first that is installed plays
    "aplay": "-q -t raw -f S16_LE -c 1 -r {rate} -",
    "paplay": "--raw --format=s16le --channels=1 --rate={rate}",
    "play": "-q -t raw -e signed -b 16 -c 1 -r {rate} -",
    "ffplay": "-loglevel error -nodisp -autoexit -f s16le -ch_layout mono -ar {rate} -i -",
}


class Listener:
    """A reader of raw samples."""

    def __init__(self, name: str, stream: IO[bytes], player: "subprocess.Popen[bytes] | None" = None) -> None:
        self.name = name  # for messages
        self.stream = stream
        self.player = player
        self.failure: BarkError | None = None  # why it does not listen any more

    def hear(self, samples: bytes) -> None:
        """Hand over samples, until it fails; that is remembered."""
        if self.failure is None:
            try:
                self.stream.write(samples)
                self.stream.flush()
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """The audio has ended: wait until it has been played."""
        try:
            if self.name != _STDOUT_NAME:
                self.stream.close()
        except OSError as error:
            self._fail(error)
        if self.player is not None and (status := self.player.wait()):
            how = f"signal {-status}" if status < 0 else f"exit code {status}"
            self.failure = ListenerLeft(f"{self.name} stopped playing before the end ({how}).")

    def kill(self) -> None:
        """The work was interrupted: a player has seconds of audio still to play."""
        if self.player is not None:
            self.player.kill()
        self.close()

    def _fail(self, error: OSError) -> None:
        if self.failure is not None:
            return
        if self.name == _STDOUT_NAME:
            drop_output()
        if isinstance(error, BrokenPipeError):
            what = "stopped playing" if self.player else "was closed by its reader"
            self.failure = ListenerLeft(f"{self.name} {what} before the end.")
        else:
            self.failure = AudioError(f"cannot write {self.name}: {error.strerror or error}")


class Listeners:
    """All listeners of one run, in a `with` block: closed at its end, killed when it is left by an exception."""

    def __init__(self, stream: str | None, *, play: bool, sample_rate: int) -> None:
        """stream: a file, or - for standard output. Raises AudioError as `check_listeners` does."""
        self.all: list[Listener] = []
        if stream is not None:
            self.all.append(Listener(*_open(stream)))
        if play:
            self.all.append(_start_player(sample_rate))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for listener in self.all:
            listener.close() if error is None else listener.kill()

    def hear(self, chunk: Waveform) -> bool:
        """Hand a chunk to all who are there; whether somebody is."""
        samples = pcm_bytes(chunk)
        for listener in self.all:
            listener.hear(samples)
        return any(listener.failure is None for listener in self.all)

    @property
    def failure(self) -> BarkError | None:
        """Why one of them left early, if one did: first of all a file that could not be written."""
        failures = [listener.failure for listener in self.all if listener.failure is not None]
        return min(failures, key=lambda failure: isinstance(failure, ListenerLeft), default=None)


def check_listeners(stream: str | None, *, play: bool) -> None:
    """Raise AudioError, saying why, where a stream cannot be written or nothing can play it. Touches nothing."""
    if stream == STDOUT and sys.stdout is None:
        raise AudioError("cannot stream to standard output: it is closed")
    if stream not in (None, STDOUT):
        try:
            # What is there may be a pipe or a device, in a folder where no file can be made.
            if not Path(stream).exists() or Path(stream).is_dir():
                check_writable(Path(stream))
        except OSError as error:
            raise AudioError(f"cannot write {stream}: {error}") from error
    if play:
        _player()


def _open(stream: str) -> tuple[str, IO[bytes]]:
    if stream == STDOUT:
        return _STDOUT_NAME, sys.stdout.buffer
    try:
        return stream, Path(stream).open("wb")
    except OSError as error:
        raise AudioError(f"cannot write {stream}: {error.strerror}") from error


def _start_player(sample_rate: int) -> Listener:
    command = [part.format(rate=sample_rate) for part in _player()]
    try:
        player = subprocess.Popen(command, stdin=subprocess.PIPE)
    except OSError as error:
        raise AudioError(f"cannot start {command[0]}: {error.strerror}; use -o FILE instead of --play") from error
    assert player.stdin is not None
    return Listener(command[0], player.stdin, player)


def _player() -> list[str]:
    """The command of the first player there is. Raises AudioError."""
    for name, arguments in PLAYERS.items():
        if shutil.which(name):
            return [name, *arguments.split()]
    raise AudioError(f"there is no player: install one of {', '.join(PLAYERS)}, or use -o FILE instead of --play")
