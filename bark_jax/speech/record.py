"""What is on disk of a speech while it is made, so that little is lost when the work is interrupted."""

import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bark_jax.audio import AudioError, write_audio
from bark_jax.speech.report import SpeechError, write_report
from bark_jax.speech.spoken import Part, SpokenPiece

_SHARE = 0.1  # of the time, at most, in which the report is written: it is written whole, and grows


class Record:
    """Writes the report of a speech and a file of each piece, part by part.

    Leaving the context writes the report of all that was made, however the work ended.
    """

    def __init__(
        self, report: Path | None, folder: Path | None, sample_rate: int, *, kept: int = 0, **facts: Any
    ) -> None:
        """folder: which is there. kept: pieces that are in the report already. facts: for the report."""
        self.report = report
        self.folder = folder
        self.sample_rate = sample_rate
        self.facts = facts
        self.pieces: list[SpokenPiece] = []
        self.written = kept  # pieces in the report
        self.started = time.perf_counter()
        self.next_report = 0.0  # when it may be written again
        self.time_to_first_audio: float | None = None
        self.samples = np.zeros(0, np.float32)  # what pieces without a file have of the joined waveform
        self.first = 0  # where these samples begin in it
        self.filed = 0  # pieces that have a file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(SpeechError) if kind else contextlib.nullcontext():  # the first error counts
            self._write_report()

    def push(self, part: Part) -> None:
        """What has been joined next. Raises SpeechError and AudioError."""
        if len(part.samples) and self.time_to_first_audio is None:
            self.time_to_first_audio = time.perf_counter() - self.started
        if self.folder:
            self.samples = np.concatenate([self.samples, part.samples])
        else:
            self.first += len(part.samples)
        if part.piece is not None:
            self.pieces.append(part.piece)
            if time.perf_counter() >= self.next_report:
                self._write_report()
        self._write_pieces()

    def _write_report(self) -> None:
        if self.report is None or len(self.pieces) <= self.written:
            return
        started = time.perf_counter()
        write_report(
            self.report, self.pieces, seconds=(self.first + len(self.samples)) / self.sample_rate,
            sample_rate=self.sample_rate, time_to_first_audio=self.time_to_first_audio, **self.facts,
        )  # fmt: skip
        self.written = len(self.pieces)
        now = time.perf_counter()
        self.next_report = now + (now - started) / _SHARE

    def _write_pieces(self) -> None:
        """Those that lie within the samples; the end of a piece comes with the beginning of the next one."""
        while self.folder and self.filed < len(self.pieces):
            said = self.pieces[self.filed]
            first, last = (round(seconds * self.sample_rate) - self.first for seconds in (said.start, said.end))
            if last > len(self.samples):
                return
            write_audio(piece_file(self.folder, self.filed), self.samples[first:last], self.sample_rate)
            self.filed += 1
            if first < last:  # what begins before an empty piece may still belong to the one after it
                self.samples, self.first = self.samples[first:].copy(), self.first + first  # the next one may overlap


def make_folder(folder: Path) -> Path:
    """The folder, which is made if there is none. Raises AudioError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"cannot write into {folder}: {error}") from error
    return folder


def piece_file(folder: Path, index: int, suffix: str = ".wav") -> Path:
    """Where the audio of a piece goes."""
    return folder / f"{index:03}{suffix}"
