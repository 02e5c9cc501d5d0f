"""Recordings → semantic tokens: what the semantic stage learns to predict and the coarse stage to speak.

Axes: N samples, M tokens, D mel bands, V vocabulary.
"""

import hashlib
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from bark_jax.arrays import open_plain, parse_npy, read_member
from bark_jax.audio import resample
from bark_jax.files import replacing
from bark_jax.layouts import SEMANTIC_CLUSTERS
from bark_jax.quoting import shorten
from bark_jax.stages.progress import Progress
from bark_jax.training.codec import mel_filters
from bark_jax.training.kmeans import kmeans, nearest
from bark_jax.training.shards import DataError

CLUSTERS = SEMANTIC_CLUSTERS  # the tokenizer's file, in a folder of data or of a model
BANDS = 80
WINDOW = 0.032  # seconds
FLOOR = 1e-3  # added to magnitudes: about what noise of 60 dB below full scale has, so that silence is one sound
FRAMES_PER_TOKEN = 256  # that are looked at for each token of the vocabulary,
MOST_FRAMES = 2**18  # and in all: nearly an hour and a half at 49.9 Hz

_VERSION = 1
_STORED = ("version", "centroids", "mean", "scale", "sample_rate", "rate_hz")
_MAX_BYTES = 2**24  # of a stored array, and of a file

Floats = npt.NDArray[np.float32]


class SemanticTokenizer(Protocol):
    """What makes semantic tokens of recordings."""

    @property
    def vocab(self) -> int:
        """Tokens are 0 … vocab − 1."""

    @property
    def rate_hz(self) -> float:
        """Tokens per second."""

    @property
    def fingerprint(self) -> str:
        """Differs between tokenizers that make different tokens: data and models are compared by it."""

    def __call__(self, waveform: Floats, sample_rate: int) -> npt.NDArray[np.int32]:
        """A mono waveform, float32 [N] at any sample rate → tokens, int32 [M], M about N / sample_rate · rate_hz."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KMeansTokenizer:
    """The nearest of V clusters of logarithmic mel spectra. Raises DataError unless its arrays fit each other."""

    centroids: Floats  # [V, D], of normalised spectra
    mean: Floats  # [D], subtracted from spectra,
    scale: Floats  # [D], which are then divided by this
    sample_rate: int  # Hz, of the recordings it was fitted to: others are resampled
    rate_hz: float

    def __post_init__(self) -> None:
        arrays = (self.centroids, self.mean, self.scale)
        bands = self.centroids.shape[-1] if self.centroids.ndim == 2 else 0
        sound = (
            [a.shape[-1:] for a in arrays] == [(bands,)] * 3
            and [a.ndim for a in arrays] == [2, 1, 1]
            and all(a.dtype == np.float32 and a.size and np.isfinite(a).all() for a in arrays)
            and self.scale.min() > 0
        )
        if not (sound and self.sample_rate > 0 and 0 < self.rate_hz < math.inf):
            raise DataError("the clusters of a tokenizer must be finite float32 [V, D], its rates positive")

    @property
    def vocab(self) -> int:
        """V."""
        return len(self.centroids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the clusters and rates."""
        rates = np.array([self.sample_rate, self.rate_hz], "<f8")
        arrays = (self.centroids, self.mean, self.scale)
        return hashlib.sha256(b"".join([rates.tobytes(), *(a.astype("<f4").tobytes() for a in arrays)])).hexdigest()

    def __call__(self, waveform: Floats, sample_rate: int) -> npt.NDArray[np.int32]:
        """A mono waveform, float32 [N] at any sample rate → tokens, int32 [`count_tokens(N, …)`]. Raises DataError."""
        if waveform.ndim != 1 or not np.isfinite(waveform).all():
            raise DataError(f"a waveform must be finite samples [N], not {waveform.dtype} {list(waveform.shape)}")
        count = count_tokens(len(waveform), sample_rate, self.rate_hz)
        if sample_rate != self.sample_rate:
            waveform = resample(waveform, sample_rate, self.sample_rate)
        spectra = log_mel(waveform, self.sample_rate, self.rate_hz, count, len(self.mean))
        return nearest((spectra - self.mean) / self.scale, self.centroids)[0]

    @classmethod
    def fit(
        cls,
        waveforms: Sequence[Floats],
        sample_rate: int,
        vocab: int,
        rate_hz: float,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Clusters of the frames of random ones of the waveforms: as many frames as FRAMES_PER_TOKEN asks for.

        The same machine, waveforms and seed give the same clusters. Raises DataError when there are fewer frames than
        tokens.
        """
        rng = np.random.default_rng(seed)
        spectra = _some_spectra(waveforms, sample_rate, rate_hz, min(FRAMES_PER_TOKEN * vocab, MOST_FRAMES), rng)
        if len(spectra) < vocab:
            raise DataError(
                f"the recordings have {len(spectra)} frames, too few for {vocab} semantic tokens: add recordings, "
                "or give the model a smaller semantic.vocab"
            )
        mean, deviation = spectra.mean(axis=0, dtype=np.float64), spectra.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > 1e-3, deviation, 1)  # a band that is always silent stays so
        points = ((spectra - mean) / scale).astype(np.float32)
        return cls(
            centroids=kmeans(points, vocab, rng, progress),
            mean=mean.astype(np.float32),
            scale=scale.astype(np.float32),
            sample_rate=sample_rate,
            rate_hz=rate_hz,
        )

    def save(self, path: Path | str) -> None:
        """Write an `.npz`, whole or not at all. Raises DataError."""
        path = Path(path)
        if path.suffix != ".npz":
            raise DataError(f"cannot write the tokenizer {path}: its name must end in .npz")
        try:
            with replacing(path) as temporary:
                np.savez(
                    temporary, version=_VERSION, centroids=self.centroids, mean=self.mean, scale=self.scale,
                    sample_rate=self.sample_rate, rate_hz=self.rate_hz,
                )  # fmt: skip
        except OSError as error:
            raise DataError(f"cannot write the tokenizer {path}: {error}") from error

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """From what `save` wrote. No pickle is executed, and declared sizes are not trusted. Raises DataError."""
        try:
            with open_plain(Path(path), _MAX_BYTES) as file, zipfile.ZipFile(file) as archive:
                stored = {name: parse_npy(read_member(archive, f"{name}.npy", _MAX_BYTES)) for name in _STORED}
            if stored["version"].tolist() != _VERSION:
                raise ValueError(f"its format version is {stored['version'].tolist()!r}, not {_VERSION}")
            return cls(
                centroids=_floats(stored["centroids"]),
                mean=_floats(stored["mean"]),
                scale=_floats(stored["scale"]),
                sample_rate=int(stored["sample_rate"].item()),
                rate_hz=float(stored["rate_hz"].item()),
            )
        except Exception as error:  # zip and npy parsers raise a dozen kinds on damaged files
            raise DataError(f"cannot read the tokenizer {path}: {shorten(error)}") from error


def _floats(array: npt.NDArray[Any]) -> Floats:
    """A copy of its own: what is parsed is read-only, and may be unaligned."""
    if array.dtype != np.float32:
        raise ValueError(f"an array has dtype {array.dtype}, not float32")
    return array.astype(np.float32)


def _some_spectra(
    waveforms: Sequence[Floats], sample_rate: int, rate_hz: float, most: int, rng: np.random.Generator
) -> Floats:
    """The spectra of random waveforms, F = `most` frames at most: [F, D]."""
    found, frames = [np.zeros((0, BANDS), np.float32)], 0
    for index in rng.permutation(len(waveforms)).tolist():
        if frames >= most:
            break
        waveform = waveforms[index]
        count = count_tokens(len(waveform), sample_rate, rate_hz)
        found.append(log_mel(waveform, sample_rate, rate_hz, count))
        frames += count
    return np.concatenate(found)[:most]


def count_tokens(samples: int, sample_rate: int, rate_hz: float) -> int:
    """Whole tokens in a number of samples."""
    return math.floor(samples / sample_rate * rate_hz)


def log_mel(waveform: Floats, sample_rate: int, rate_hz: float, count: int, bands: int = BANDS) -> Floats:
    """log₁₀(mel magnitude + FLOOR) of `count` windows [count, D], at (i + ½) / rate_hz seconds of a waveform [N]."""
    half = round(WINDOW / 2 * sample_rate)
    window = _hann(2 * half)
    filters = _filters(sample_rate, 4 * half, bands)  # of twice the window, as its own bins are wider than low bands
    centres = np.round((np.arange(count) + 0.5) * sample_rate / rate_hz).astype(np.int64)
    behind = max(0, int(centres[-1]) + half - len(waveform)) if count else 0
    padded = np.pad(waveform, (half, behind))
    frames = padded[centres[:, None] + np.arange(2 * half)] * window
    return np.log10(np.abs(np.fft.rfft(frames, 4 * half)) @ filters + np.float32(FLOOR))


def _hann(window: int) -> Floats:
    """Of norm 1, so that white noise has its own deviation as magnitude."""
    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    return hann / np.linalg.norm(hann)


def _filters(sample_rate: int, window: int, bands: int) -> Floats:
    """Mel filters whose weights sum to 1 in each band."""
    filters = mel_filters(sample_rate, window, bands)
    return filters / np.maximum(filters.sum(axis=0), np.float32(1e-6))
