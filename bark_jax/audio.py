"""Waveform ↔ audio file."""

import io
import math
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import soundfile  # type: ignore[import-untyped]

from bark_jax.errors import FileError
from bark_jax.files import check_writable, replacing
from bark_jax.quoting import did_you_mean, quote

_ENCODINGS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
SUFFIXES = tuple(_ENCODINGS)
_RATES = {  # Hz, of the formats that do not take every rate
    "OPUS": (8_000, 12_000, 16_000, 24_000, 48_000),
    "MPEG_LAYER_III": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
}
_BLOCK = 2**16  # samples written at once: libsndfile's Vorbis encoder overflows the stack with minutes in one call

Waveform = npt.NDArray[np.float32]


class AudioError(FileError):
    """An audio file that cannot be read or written."""


def check_waveform(waveform: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """A row of finite float samples [N], N ≥ 1. Raises AudioError for anything else."""
    samples = np.asarray(waveform)
    if samples.ndim != 1 or not samples.size or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"a waveform is a row of float samples, not {samples.dtype} {list(samples.shape)}")
    if not np.isfinite(samples).all():
        raise AudioError("the waveform has samples that are not finite numbers")
    return samples


def check_output(path: Path | str, suffix: str | None = None) -> None:
    """Raise AudioError, saying why, if audio cannot be written to `path`: for use before a long generation.

    suffix: of the format, where that of the path does not say it.
    """
    path = Path(path)
    if suffix is None and path.suffix.lower() not in _ENCODINGS:
        advice = did_you_mean(path.suffix, SUFFIXES)
        raise AudioError(f"cannot write {path}: its name must end in {', '.join(SUFFIXES)}{advice}")
    container, encoding = _ENCODINGS.get(suffix or path.suffix.lower(), ("WAV", None))
    if not soundfile.check_format(container, encoding):
        raise AudioError(f"cannot write {path}: libsndfile is built without {container}; use .wav or .flac")
    try:
        check_writable(path)
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error}") from error


def write_audio(file: Path | str | IO[bytes], waveform: Waveform, sample_rate: int, format: str | None = None) -> None:
    """Write a mono waveform [N], clipped to −1 … 1: to a path, whole or not at all, or to a binary file object.

    The suffix of the path chooses the format: `.wav` and `.flac` of 16 bits, `.ogg` with Vorbis, `.opus`, `.mp3`;
    `format`, "wav" with or without the dot, does for a file object, and for a path in place of its suffix. Opus and MP3
    take a few sample rates only: others are resampled to the next higher one. An empty waveform becomes one sample of
    silence, as most formats cannot be empty. Raises AudioError for an unknown format, a path that cannot be written,
    and samples that are not finite numbers.
    """
    suffix = None if format is None else f".{format.lower().removeprefix('.')}"
    if not isinstance(file, str | Path):
        if suffix is None:
            raise AudioError(f"a file object needs a format: {_formats()}")
        file.write(encode_audio(waveform, sample_rate, suffix))
        return
    path = Path(file)
    check_output(path, suffix)
    try:
        data = encode_audio(waveform, sample_rate, suffix or path.suffix.lower())
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    except (OSError, AudioError, soundfile.SoundFileError) as error:
        raise AudioError(f"cannot write {path}: {error}") from error


def encode_audio(waveform: Waveform, sample_rate: int, suffix: str) -> bytes:
    """The content of an audio file of a waveform [N], clipped to −1 … 1; the suffix chooses the format.

    In memory, as libsndfile is silent about a disk that fills up on closing. Raises AudioError for an unknown suffix
    and for samples that are not finite numbers.
    """
    if suffix not in _ENCODINGS:
        raise AudioError(f"there is no format {quote(suffix)}: use {_formats()}")
    waveform = np.asarray(waveform, np.float32)
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioError(f"the waveform {waveform.shape} is not a row of finite samples")
    waveform = waveform if waveform.size else np.zeros(1, np.float32)
    container, encoding = _ENCODINGS[suffix]
    rates = _RATES.get(encoding, (sample_rate,))
    if sample_rate not in rates:
        target = min((rate for rate in rates if rate > sample_rate), default=max(rates))
        waveform, sample_rate = resample(waveform, sample_rate, target), target
    waveform = np.clip(waveform, -1, 1)
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", sample_rate, 1, encoding, format=container) as file:
        for start in range(0, len(waveform), _BLOCK):
            file.write(waveform[start : start + _BLOCK])
    return content.getvalue()


def _formats() -> str:
    return ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)


def pcm_bytes(waveform: Waveform) -> bytes:
    """A waveform [N], clipped to −1 … 1, as raw samples: 16 bits, signed, little-endian."""
    content = io.BytesIO()
    soundfile.write(content, np.clip(waveform, -1, 1), 1, "PCM_16", endian="LITTLE", format="RAW")
    return content.getvalue()


def read_audio(path: Path | str, sample_rate: int) -> Waveform:
    """An audio file as a mono waveform [N], channels averaged, resampled to `sample_rate` Hz. Raises AudioError."""
    try:
        _require_file(path)
        samples, source_rate = soundfile.read(path, dtype="float32", always_2d=True)  # [N, channels]
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"cannot read {path}: {error}") from error
    waveform: Waveform = samples.mean(axis=1)
    if not np.isfinite(waveform).all():
        raise AudioError(f"cannot use {path}: some of its samples are not finite numbers")
    return resample(waveform, source_rate, sample_rate)


def audio_seconds(path: Path | str) -> float:
    """The length that an audio file declares, without reading its samples. Raises AudioError."""
    try:
        _require_file(path)
        return float(soundfile.info(path).duration)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"cannot read {path}: {error}") from error


def _require_file(path: Path | str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError("there is no such file")


def resample(waveform: Waveform, source_rate: int, sample_rate: int) -> Waveform:
    """A waveform [N] at `source_rate` Hz → float32 [⌈N · sample_rate / source_rate⌉] at `sample_rate` Hz."""
    from scipy.signal import resample_poly  # type: ignore[import-untyped]  # half a second to import, rarely needed

    divisor = math.gcd(source_rate, sample_rate)
    return resample_poly(waveform, sample_rate // divisor, source_rate // divisor)
