"""First step of preparing data: recordings → shards of audio at the codec's sample rate."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt

from bark_jax.audio import AudioError, audio_seconds, read_audio
from bark_jax.text import TextError, normalize
from bark_jax.training.dataset import FULL_SCALE, AudioManifest
from bark_jax.training.shards import DataError, ShardWriter
from bark_jax.training.transcripts import LeftOut, Transcript

SHORTEST, LONGEST = 0.1, 60.0  # seconds of a recording
SUFFIXES = (".aif", ".aiff", ".au", ".flac", ".mp3", ".ogg", ".opus", ".wav", ".w64")  # of files that are recordings

Progress = Callable[[str, int, int], None]  # (step, done, in all)


def prepare_audio(
    recordings: Path,
    transcripts: Sequence[Transcript],
    to: Path,
    *,
    sample_rate: int,
    source: str,
    progress: Progress,
) -> tuple[AudioManifest, list[LeftOut]]:
    """Write the recordings that have a transcript to the folder `to`, in the order of the table.

    Also returns what was left out: what cannot be read or is silent, too short or too long, and recordings without a
    transcript. Raises DataError when nothing is left, OSError when `to` cannot be written.
    """
    writer, left_out = ShardWriter(to, "audio", np.int16), []
    for done, row in enumerate(transcripts):
        progress("audio", done, len(transcripts))
        try:
            samples, text = _samples(recordings / row.file, sample_rate), normalize(row.text)
        except (AudioError, TextError, DataError) as error:
            left_out.append(LeftOut(step="audio", file=row.file, line=row.line, reason=str(error)))
        else:
            writer.add(samples, name=row.file, text=text, speaker=row.speaker)
    progress("audio", len(transcripts), len(transcripts))
    left_out += _without_transcript(recordings, {row.file for row in transcripts})
    if not writer.index:
        raise nothing_left(str(recordings), left_out)
    writer.close()
    seconds = sum(line["size"] for line in writer.index) / sample_rate
    return AudioManifest(source=source, clips=len(writer.index), seconds=seconds, sample_rate=sample_rate), left_out


def nothing_left(what: str, left_out: Sequence[LeftOut]) -> DataError:
    """The error for data of which nothing can be used."""
    if not left_out:
        return DataError(f"nothing in {what} can be used: the table of transcripts names no recordings")
    first = left_out[0]
    where = f"{first.file or 'a line of the table'} (line {first.line})" if first.line else first.file
    return DataError(f"nothing in {what} can be used; of {len(left_out)} problems the first is {where}: {first.reason}")


def _samples(path: Path, sample_rate: int) -> npt.NDArray[np.int16]:
    """A recording, checked. Raises AudioError or DataError."""
    seconds = audio_seconds(path)
    if seconds < SHORTEST:
        raise DataError(f"{seconds:.2f} s is too short: at least {SHORTEST} s")
    if seconds > LONGEST:
        raise DataError(f"{seconds:.2f} s is too long: cut it into pieces of at most {LONGEST:.0f} s")
    waveform = read_audio(path, sample_rate)
    if len(waveform) < SHORTEST * sample_rate:  # its header had promised more
        raise DataError(f"only {len(waveform) / sample_rate:.2f} s can be read")
    samples = np.clip(np.round(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    if not samples.any():
        raise DataError("it is silent")
    return samples


def _without_transcript(recordings: Path, named: set[str]) -> list[LeftOut]:
    """The recordings in the folder that the table does not name."""
    found = (path.relative_to(recordings) for path in sorted(recordings.rglob("*")))
    names = [PurePath(path).as_posix() for path in found if path.suffix.lower() in SUFFIXES]
    reason = "the table of transcripts does not name it"
    return [LeftOut(step="audio", file=name, line=None, reason=reason) for name in names if name not in named]
