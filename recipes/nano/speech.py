"""Speech of sentences by espeak-ng: a folder of wav files with a table, as `bark-jax data prepare` reads it."""

import csv
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]

from bark_jax.audio import Waveform, write_audio
from bark_jax.errors import TrainingError
from bark_jax.files import replacing

TABLE = "transcripts.csv"
COLUMNS = ("file", "text", "speaker")
MARGIN = 0.1  # seconds of silence before and after the words
_SILENCE = 1e-3  # amplitude of what is no word
_PROCESSES = 2
_PATIENCE = 60.0  # seconds for one sentence


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A voice of espeak-ng."""

    name: str  # of its voice preset
    voice: str  # a language and a variant, as `espeak-ng -v` takes them
    words_per_minute: int
    pitch: int = 50  # of 0 … 99


# Of 35 variants, pocketsphinx understands this woman and this man best; others have word error rates up to 90 %.
SPEAKERS = (
    Speaker(name="adam", voice="en-us+edward", words_per_minute=150),
    Speaker(name="eve", voice="en-us+f5", words_per_minute=150),
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A sentence and who says it."""

    text: str
    speaker: Speaker

    @property
    def file(self) -> str:
        """A name for its speech, another for every sentence and for every way to speak it."""
        return f"{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}-{self.speaker.name}.wav"


def take_turns(texts: Sequence[str], speakers: Sequence[Speaker] = SPEAKERS) -> list[Line]:
    """Each sentence by one speaker, in turn."""
    return [Line(text=text, speaker=speakers[i % len(speakers)]) for i, text in enumerate(texts)]


def synthesize(lines: Sequence[Line], folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Speak every line into its file, and write the table of all when they are there.

    Files that are there already are kept, so it can be interrupted and called again. `progress` is called with (lines
    done, all lines). Raises TrainingError when espeak-ng is missing or fails, or when the folder cannot be written;
    AudioError when a file cannot.
    """
    program = _find_espeak()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        todo = [line for line in lines if not (folder / line.file).exists()]
        with ThreadPoolExecutor(_PROCESSES) as pool:
            try:
                for done, _ in enumerate(pool.map(lambda line: _speak_to_file(program, line, folder), todo), start=1):
                    if progress:
                        progress(len(lines) - len(todo) + done, len(lines))
            finally:
                pool.shutdown(cancel_futures=True)
        with replacing(folder / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows((line.file, line.text, line.speaker.name) for line in lines)
    except OSError as error:
        raise TrainingError(f"cannot write the speech to {folder}: {error}") from error


def read_table(folder: Path) -> list[dict[str, str]]:
    """The rows of the table of a folder of speech, with `COLUMNS`. Raises TrainingError."""
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"there is no speech in {folder}: {error}") from error
    if not rows or any(None in row.values() or tuple(row) != COLUMNS for row in rows):
        raise TrainingError(f"{folder / TABLE} is damaged: delete it, and the next run writes it again")
    return rows


def espeak_version() -> str:
    """Of the espeak-ng that is installed, such as "1.51"; empty if there is none."""
    program = shutil.which("espeak-ng")
    if not program:
        return ""
    command = [program, "--version"]
    said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+\S*", said)
    return found[0] if found else ""


def _find_espeak() -> str:
    """The path of espeak-ng. Raises TrainingError saying how to get it."""
    program = shutil.which("espeak-ng")
    if not program:
        raise TrainingError("espeak-ng, which speaks the sentences, is not installed: apt install espeak-ng")
    return program


def _speak_to_file(program: str, line: Line, folder: Path) -> None:
    raw = folder / f".{line.file}"
    speaker = line.speaker
    command = [program, "-v", speaker.voice, "-s", str(speaker.words_per_minute), "-p", str(speaker.pitch)]
    command += ["-z", "-b", "1", "-w", str(raw), "--stdin"]  # -z: no pause at the end; -b 1: the text is UTF-8
    try:
        subprocess.run(command, input=line.text.encode(), capture_output=True, check=True, timeout=_PATIENCE)
        waveform, sample_rate = soundfile.read(raw, dtype="float32")
    except (subprocess.SubprocessError, soundfile.SoundFileError) as error:
        said = getattr(error, "stderr", None) or b""
        raise TrainingError(f"espeak-ng cannot speak {line.text!r}: {error} {said.decode(errors='replace')}") from error
    finally:
        raw.unlink(missing_ok=True)
    write_audio(folder / line.file, trim(waveform, sample_rate), sample_rate)


def trim(waveform: Waveform, sample_rate: int) -> Waveform:
    """The waveform [N] from its first to its last sound, with silence of `MARGIN` seconds around it."""
    loud = np.flatnonzero(np.abs(waveform) > _SILENCE)
    words = waveform[loud[0] : loud[-1] + 1] if loud.size else waveform[:0]
    return np.pad(words, round(MARGIN * sample_rate))
