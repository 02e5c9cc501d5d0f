"""Is this audio Bark's? Features of an encoder, averaged over time, and a logistic regression on them.

Suno's notebook does it with HuBERT's features after block 6 (https://github.com/suno-ai/bark, notebooks/
fake_classifier.ipynb). The same is here with `features="hubert"`; by default the features are those of the built-in
codec's encoder, which needs nothing more, and the classifier separates the built-in model from recorded and
synthetic speech: a demonstration, see `docs/hearing.md` for what fools it.

Axes: N samples, T frames, C channels, D features.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from bark_jax.checkpoint import CheckpointError, read_json
from bark_jax.errors import InputError
from bark_jax.files import replacing
from bark_jax.hearing.features import hear
from bark_jax.hearing.finding import find_ears
from bark_jax.hearing.recordings import Recording, from_samples, read_recording
from bark_jax.layouts import NANO
from bark_jax.models.encodec import Encodec
from bark_jax.models.hubert import SAMPLE_RATE

CODEC, HUBERT = "codec", "hubert"
BUILT_IN = Path(__file__).parents[1] / NANO / "detector.json"
LAYER = 6  # of HuBERT's blocks, as in Suno's notebook
LEAST = 1.0  # seconds: less says nothing
_WINDOW = 8  # seconds of audio that are encoded at once
_FORMAT, _VERSION = "bark_jax_detector", 1
_MOST = 2**14  # features

Floats = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a detector says of a recording."""

    probability: float  # that it is Bark's, 0 … 1
    seconds: float  # that were heard
    notes: tuple[str, ...] = ()  # what was done to the recording


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A linear classifier of one kind of features. Raises InputError unless its arrays are finite and as long."""

    features: str  # "codec" or "hubert"
    mean: Floats  # [D] of the features in training,
    scale: Floats  # [D] their standard deviation
    weights: Floats  # [D] of the normalised features
    bias: float

    def __post_init__(self) -> None:
        arrays = (self.mean, self.scale, self.weights)
        sound = all(a.ndim == 1 and 0 < len(a) == len(self.mean) <= _MOST and np.isfinite(a).all() for a in arrays)
        if (
            self.features not in (CODEC, HUBERT)
            or not sound
            or not self.scale.min() > 0
            or not math.isfinite(self.bias)
        ):
            raise InputError("a detector has features codec or hubert, and finite arrays of one length")

    def logit(self, features: Floats) -> Floats:
        """Features [..., D] → log-odds [...]. Raises InputError for another number of features."""
        if features.shape[-1] != len(self.mean):
            raise InputError(f"the detector is for {len(self.mean)} features, these are {features.shape[-1]}")
        odds: Floats = (features - self.mean) / self.scale @ self.weights + self.bias
        return odds

    def save(self, path: Path | str) -> None:
        """Write a JSON file. Raises OSError."""
        values = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in dataclasses.asdict(self).items()}
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps({"format": _FORMAT, "version": _VERSION, **values}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Raises CheckpointError, and InputError for a pickle, as Suno's own classifier, of scikit-learn, is one."""
        path = Path(path).expanduser()
        if path.suffix in (".pkl", ".pickle", ".joblib"):
            raise InputError(
                f"{path} is a pickle, which is never run. Train a detector of your own: bark-jax detect train --help"
            )
        values = read_json(path)
        try:
            if (values["format"], values["version"]) != (_FORMAT, _VERSION):
                raise ValueError("another format")
            arrays = {name: np.array(values[name], np.float64) for name in ("mean", "scale", "weights")}
            return cls(features=values["features"], bias=float(values["bias"]), **arrays)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is no detector of this release: {error}") from error


def detect(source: Any, detector: Detector | Path | str | None = None, *, hubert: str | Path = HUBERT) -> Detection:
    """The probability that a recording was made by the model that the detector was trained on.

    source: a path, or (waveform float [N] or [N, channels], Hz); of long ones the first ten minutes. detector: or its
    file; None for the built-in one. hubert: for detectors of its features, as for `hearing.finding.find_hubert`. Raises
    AudioError, CheckpointError, InputError for less than a second of audio.
    """
    known = detector if isinstance(detector, Detector) else Detector.load(BUILT_IN if detector is None else detector)
    recording = open_recording(source, known.features)
    logit = float(known.logit(feature_maker(known.features, hubert)(recording.waveform)))
    probability = 0.5 * (1 + math.tanh(logit / 2))
    return Detection(probability=probability, seconds=recording.seconds, notes=recording.notes)


def open_recording(source: Any, features: str) -> Recording:
    """A path or (waveform, Hz), at the sample rate of the features. Raises AudioError, InputError."""
    rate = SAMPLE_RATE if features == HUBERT else _codec()[1]
    if isinstance(source, str | Path):
        recording = read_recording(source, rate)
    else:
        samples, own_rate = source
        recording = from_samples(samples, own_rate, rate)
    if recording.seconds < LEAST:
        raise InputError(f"{recording.name} has {recording.seconds:.2f} s of audio: {LEAST:.0f} s are the least")
    return recording


def feature_maker(features: str, hubert: str | Path = HUBERT) -> Callable[[Samples], Floats]:
    """A function of a waveform [N] that gives its features [D]."""
    if features == CODEC:
        return codec_features
    return partial(hubert_features, hubert=hubert)


def hubert_features(waveform: Samples, *, hubert: str | Path) -> Floats:
    """The mean over time of HuBERT's features after block 6, [C]."""
    ears = find_ears(hubert)
    total, count = np.zeros(ears.hubert.config.width), 0
    for piece in hear(ears.hubert, waveform, LAYER):
        total += piece.sum(axis=0, dtype=np.float64)
        count += len(piece)
    return total / count


def codec_features(waveform: Samples) -> Floats:
    """Mean, standard deviation and mean change of the built-in codec's latents over time, [3 C]."""
    sums = np.zeros(3)[:, None]
    count = changes = 0
    for latents in _latents(waveform):
        sums = sums + np.stack([latents.sum(0), np.square(latents).sum(0), np.abs(np.diff(latents, axis=0)).sum(0)])
        count, changes = count + len(latents), changes + len(latents) - 1
    mean = sums[0] / count
    deviation = np.sqrt(np.maximum(sums[1] / count - np.square(mean), 0))
    return np.concatenate([mean, deviation, sums[2] / changes])


def _latents(waveform: Samples) -> Iterator[Floats]:
    """Latents [T, C] of windows of one size, the last one padded with silence that does not count."""
    codec, rate = _codec()
    for start in range(0, len(waveform), _WINDOW * rate):
        window = waveform[start : start + _WINDOW * rate]
        frames = len(window) // codec.hop
        if frames < 2:
            return
        padded = np.pad(window, (0, _WINDOW * rate - len(window)))
        yield np.asarray(_encode(codec, jnp.asarray(padded)))[:frames].astype(np.float64)


@cache
def _codec() -> tuple[Encodec, int]:
    """The built-in codec, and its sample rate in Hz."""
    from bark_jax.bark import Bark

    bark = Bark.from_pretrained(NANO)
    codec = bark.engine.network("codec")
    assert isinstance(codec, Encodec)
    return codec, bark.config.codec.sample_rate


@jax.jit
def _encode(codec: Encodec, waveform: jax.Array) -> jax.Array:
    return codec.encoder(waveform[None, :, None])[0]
