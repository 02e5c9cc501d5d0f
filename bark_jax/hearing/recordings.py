"""Recordings of any kind, as one channel: read, and the channels that are worth hearing chosen.

Axes: N samples.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile  # type: ignore[import-untyped]

from bark_jax.audio import AudioError, audio_seconds, resample

LONGEST = 600.0  # seconds that are listened to, unless the caller says which
_SILENT_DB = 40.0  # a channel that is softer than the loudest by this counts as silent
_BLOCK = 2**18  # samples read at once
_OTHER = (
    "it is no audio that libsndfile knows (WAV, FLAC, OGG, Opus, MP3, AIFF, …); if it is a video or m4a, "
    "make a WAV file first: ffmpeg -i {name} {stem}.wav"
)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One channel of a recording, or of a part of it."""

    waveform: Floats  # [N]
    sample_rate: int  # Hz
    name: str  # for messages
    sha256: str  # of the file, or of the samples where there is none
    notes: tuple[str, ...] = ()  # what was done to it, and what looks wrong

    @property
    def seconds(self) -> float:
        """N / sample_rate."""
        return len(self.waveform) / self.sample_rate


def read_recording(
    path: Path | str, sample_rate: int, *, start: float | None = None, end: float | None = None
) -> Recording:
    """A file, or its part from `start` to `end` seconds, as one channel at a sample rate.

    Without a part, at most `LONGEST` seconds are read. Raises AudioError naming the file and the remedy.
    """
    path = Path(path).expanduser()
    try:
        seconds = audio_seconds(path)
    except AudioError as error:
        if path.is_file():
            raise AudioError(f"cannot read {path}: {_OTHER.format(name=path.name, stem=path.stem)}") from error
        raise
    first, last = check_part(path.name, seconds, start, end)
    notes = []
    if start is None and end is None and seconds > LONGEST:
        last = LONGEST
        notes.append(
            f"only the first {LONGEST / 60:.0f} of {seconds / 60:.0f} minutes are heard: --from and --to choose"
        )
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(round(first * rate))
            samples, more = mix(_blocks(file, round((last - first) * rate)), file.channels)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"cannot read {path}: {error}; it may be damaged") from error
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return _made(samples, rate, sample_rate, path.name, digest, (*notes, *more))


def from_samples(
    waveform: npt.ArrayLike, rate: int, sample_rate: int, *, start: float | None = None, end: float | None = None
) -> Recording:
    """Samples [N] or [N, channels], floats in −1 … 1, as one channel at a sample rate. Raises AudioError."""
    samples = np.asarray(waveform)
    if samples.ndim not in (1, 2) or samples.dtype.kind != "f" or rate <= 0:
        raise AudioError(
            f"a recording is float samples [N] or [N, channels], not {samples.dtype} {list(samples.shape)}"
        )
    samples = samples.astype(np.float32)[:, None] if samples.ndim == 1 else samples.astype(np.float32)
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    first, last = check_part("the recording", len(samples) / rate, start, end)
    part, notes = mix(samples[round(first * rate) : round(last * rate)], samples.shape[1])
    return _made(part, rate, sample_rate, "the recording", digest, notes)


def check_part(name: str, seconds: float, start: float | None, end: float | None) -> tuple[float, float]:
    """The part in seconds. Raises AudioError for one that is not there."""
    first, last = 0.0 if start is None else start, seconds if end is None else end
    if not 0 <= first < last <= seconds + 0.5:
        raise AudioError(f"{name} is {seconds:.2f} s long: there is no part from {first:g} to {last:g} s")
    return first, min(last, seconds)


def _blocks(file: soundfile.SoundFile, samples: int) -> Floats:
    """All channels [N, channels], in blocks so that a length that the header invents needs no memory."""
    blocks = [np.zeros((0, file.channels), np.float32)]
    while samples > 0 and len(block := file.read(min(_BLOCK, samples), dtype="float32", always_2d=True)):
        blocks.append(block)
        samples -= len(block)
    return np.concatenate(blocks)


def mix(samples: Floats, channels: int) -> tuple[Floats, tuple[str, ...]]:
    """The mean of the channels [N, channels] that hold something, or one of them where they cancel; and notes."""
    if channels == 1 or not samples.size:
        return samples[:, :1].mean(axis=1) if samples.size else np.zeros(0, np.float32), ()
    power = np.square(samples, dtype=np.float64).mean(axis=0)
    loud = power >= power.max() * 10 ** (-_SILENT_DB / 10)
    notes = [] if loud.all() else [f"{channels - loud.sum()} of {channels} channels are silent: the others are heard"]
    kept = samples[:, loud]
    mean: Floats = kept.mean(axis=1)
    if loud.sum() > 1 and np.square(mean, dtype=np.float64).mean() < power[loud].mean() / 10:
        notes.append("its channels cancel each other: only the loudest is heard")
        mean = samples[:, int(power.argmax())].copy()
    return mean, tuple(notes)


def _made(waveform: Floats, rate: int, sample_rate: int, name: str, digest: str, notes: tuple[str, ...]) -> Recording:
    if not np.isfinite(waveform).all():
        raise AudioError(f"cannot use {name}: some of its samples are not finite numbers")
    if rate < sample_rate:
        notes = (*notes, f"its sample rate is {rate} Hz: it has nothing above {rate // 2} Hz, so neither has the voice")
    waveform = resample(waveform, rate, sample_rate) if len(waveform) else waveform
    return Recording(
        waveform=waveform.astype(np.float32), sample_rate=sample_rate, name=name, sha256=digest, notes=notes
    )
