"""A detector from two folders of audio: logistic regression, and its ROC on files that were held out."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]

from bark_jax.audio import AudioError
from bark_jax.errors import InputError
from bark_jax.hearing.detection import HUBERT, Detector, Floats, feature_maker, open_recording

HELD_OUT = 4  # one file of that number
_PENALTY = 1e-3  # of the squared weights
_LEAST = 8  # files of each kind
_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A detector, and what it says of the files that were held out."""

    detector: Detector
    bark: Floats  # log-odds of those of Bark
    other: Floats  # and of the others
    unusable: tuple[str, ...]  # files, with the reason

    @property
    def auc(self) -> float:
        """The area under the ROC."""
        return area(self.bark, self.other)


def train_detector(
    bark: Path, other: Path, *, features: str, hubert: str | Path = HUBERT,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:  # fmt: skip
    """Train on the audio of two folders, one file in four held out.

    Files of the same name are on the same side: the same text in two voices says nothing of the difference. Raises
    InputError for folders with fewer than eight usable files.
    """
    make = feature_maker(features, hubert)
    files = [(path, is_bark) for folder, is_bark in ((bark, True), (other, False)) for path in audio_files(folder)]
    rows, labels, held, unusable = [], [], [], []
    for done, (path, is_bark) in enumerate(files, start=1):
        try:
            rows.append(make(open_recording(path, features).waveform))
            labels.append(is_bark)
            held.append(is_held_out(path))
        except (AudioError, InputError) as error:
            unusable.append(str(error))
        progress(done, len(files))
    is_bark_, is_held = np.array(labels, bool), np.array(held, bool)
    for folder, kind in ((bark, is_bark_), (other, ~is_bark_)):
        if min((kind & is_held).sum(), (kind & ~is_held).sum()) < _LEAST // HELD_OUT or kind.sum() < _LEAST:
            raise InputError(
                f"{folder} has {kind.sum()} usable audio files: {_LEAST} are the least, with several names"
            )
    values = np.stack(rows)
    detector = fit(features, values[~is_held], is_bark_[~is_held])
    logits = detector.logit(values[is_held])
    return Trained(
        detector=detector, bark=logits[is_bark_[is_held]], other=logits[~is_bark_[is_held]], unusable=tuple(unusable)
    )


def audio_files(folder: Path) -> list[Path]:
    """All audio in a folder and those within it. Raises InputError if there is none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise InputError(f"{folder} has no audio files ({', '.join(_SUFFIXES)})")
    return found


def is_held_out(path: Path) -> bool:
    """By the name alone."""
    return hashlib.sha256(path.stem.encode()).digest()[0] % HELD_OUT == 0


def fit(features: str, values: Floats, is_bark: Mask) -> Detector:
    """Regularised logistic regression of features [F, D]; both kinds weigh the same, however many files they have."""
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-9
    normal = (values - mean) / scale
    shares = np.where(is_bark, 0.5 / is_bark.sum(), 0.5 / (~is_bark).sum())
    signs = np.where(is_bark, -1.0, 1.0)

    def loss(theta: Floats) -> tuple[float, Floats]:
        wrong = signs * (normal @ theta[:-1] + theta[-1])
        slope = shares * signs / (1 + np.exp(-wrong))
        gradient = np.append(normal.T @ slope + 2 * _PENALTY * theta[:-1], slope.sum())
        return float(shares @ np.logaddexp(0, wrong) + _PENALTY * theta[:-1] @ theta[:-1]), gradient

    theta = minimize(loss, np.zeros(values.shape[1] + 1), jac=True, method="L-BFGS-B").x
    return Detector(features=features, mean=mean, scale=scale, weights=theta[:-1], bias=float(theta[-1]))


def area(bark: Floats, other: Floats) -> float:
    """How often one of Bark's is above one of the others; ties count half."""
    return float(np.mean(np.sign(bark[:, None] - other[None]) / 2 + 0.5))


def roc(bark: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Shares of the others and of Bark's that lie above each threshold, from the strictest on."""
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([bark, other]))[::-1]])
    above = [(values[None] >= thresholds[:, None]).mean(axis=1) for values in (other, bark)]
    return above[0], above[1]


def draw_roc(curves: Sequence[tuple[str, Floats, Floats]], path: Path) -> None:
    """A figure with a curve for each (name, Bark's log-odds, the others'). Raises FigureError."""
    from bark_jax.figure import new_figure, save_figure

    figure = new_figure(5, 5)
    axes = figure.subplots()
    for name, bark, other in curves:
        axes.plot(*roc(bark, other), label=f"{name}: {area(bark, other):.3f}")
    axes.set(xlabel="share of other audio taken for Bark's", ylabel="share of Bark's audio found")
    axes.legend(title="area under the curve", loc="lower right")
    save_figure(figure, path)
