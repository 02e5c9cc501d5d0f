"""First step of preparing data: recordings → shards of audio at the codec's sample rate."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bark_jax.audio import AudioError, audio_seconds, read_audio
from bark_jax.text import TextError, normalize
from bark_jax.training.dataset import FULL_SCALE, AudioManifest
from bark_jax.training.shards import DataError, ShardWriter
from bark_jax.training.transcripts import LeftOut, Recordings, Transcript

SHORTEST, LONGEST = 0.1, 60.0  # seconds of a recording

StepProgress = Callable[[str, int, int], None]  # (step, done, in all)


def prepare_audio(
    recordings: Recordings,
    transcripts: Sequence[Transcript],
    unusable: Sequence[LeftOut],
    to: Path,
    *,
    sample_rate: int,
    source: str,
    progress: StepProgress,
) -> tuple[AudioManifest, list[LeftOut]]:
    """Write the recordings that have a transcript to the folder `to`, in the order of the table.

    Also returns what was left out: the lines of the table that are unusable, recordings that cannot be read or are
    silent, too short or too long, and those that the table does not name. Raises OSError when `to` cannot be written.
    """
    writer, left_out = ShardWriter(to, "audio", np.int16), list(unusable)
    for done, row in enumerate(transcripts):
        progress("audio", done, len(transcripts))
        try:
            text, samples = normalize(row.text), _samples(recordings.folder / row.file, sample_rate)
        except (AudioError, TextError, DataError) as error:
            left_out.append(LeftOut(step="audio", file=row.file, line=row.line, reason=str(error)))
        else:
            writer.add(samples, name=row.file, text=text, speaker=row.speaker)
    progress("audio", len(transcripts), len(transcripts))
    named = {row.file for row in transcripts} | {line.file for line in unusable}
    reason = "the table of transcripts does not name it"
    left_out += [
        LeftOut(step="audio", file=name, line=None, reason=reason) for name in recordings.names if name not in named
    ]
    writer.close()
    seconds = sum(line["size"] for line in writer.index) / sample_rate
    return AudioManifest(source=source, clips=len(writer.index), seconds=seconds, sample_rate=sample_rate), left_out


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
