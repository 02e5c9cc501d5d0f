"""A picture of a clip: its waveform, spectrogram and tokens on one time axis. Needs matplotlib, the extra `figure`."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.errors import FileError
from bark_jax.files import check_writable, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

_INK, _GREY, _WAVE = "#1f2430", "#6b7285", "#2f5d8c"
_COLUMNS = 2000  # of the drawn waveform and spectrogram, however long the clip: about the pixels of a figure
_WINDOW = 1024  # samples of the spectrogram's windows: 43 ms
_RANGE_DB = 80  # that the spectrogram shows below its peak
_CHARACTERS_PER_INCH = 12  # of small print
_FONTS = (  # for the scripts of Bark's languages, each used if it is installed
    "Noto Sans CJK JP", "Noto Sans Devanagari", "Hiragino Sans", "Kohinoor Devanagari", "Apple SD Gothic Neo",
    "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Nirmala UI", "WenQuanYi Zen Hei",
)  # fmt: skip


class FigureError(FileError):
    """A figure that cannot be drawn or written."""


class Drawable(Protocol):
    """What `draw` needs of a clip, such as a `Generation`."""

    @property
    def waveform(self) -> np.ndarray: ...  # [samples] float
    @property
    def sample_rate(self) -> int: ...  # Hz
    @property
    def semantic(self) -> np.ndarray: ...  # [N] int
    @property
    def coarse(self) -> np.ndarray: ...  # [2, T] int
    @property
    def fine(self) -> np.ndarray: ...  # [8, T] int


def check_figure(path: Path | str) -> None:
    """Raise FigureError, saying why, if a figure cannot be drawn and written: for use before a long generation."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise FigureError(f"cannot write the figure {path}: its name must end in {', '.join(SUFFIXES)}")
    try:
        check_writable(path)
    except OSError as error:
        raise FigureError(f"cannot write the figure {path}: {error}") from error
    _require_matplotlib()


def _require_matplotlib() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise FigureError("figures need matplotlib: pip install 'bark-jax[figure]', or pip install matplotlib")


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure whole or not at all; the suffix chooses PNG, SVG or PDF. Raises FigureError."""
    path = Path(path)
    check_figure(path)
    try:
        with replacing(path) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # a box, for texts in scripts that the font lacks
            figure.savefig(temporary, dpi=150)
    except OSError as error:
        raise FigureError(f"cannot write the figure {path}: {error}") from error


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. Raises FigureError without matplotlib."""
    _require_matplotlib()
    from matplotlib.figure import Figure  # half a second to import, and an extra

    return Figure(figsize=(width, height), layout="constrained")


def draw(
    result: Drawable,
    *,
    boundaries: Sequence[tuple[float, str]] = (),
    title: str | None = None,
    config: BarkConfig | None = None,
) -> Figure:
    """Waveform, spectrogram, semantic tokens, coarse and fine codes of a clip, on one time axis in seconds.

    boundaries: (seconds, label) where each piece of a longer clip begins. title: by default the clip's text. config:
    of the model, for its rates (default: the published ones); every stage is as long as its own rate makes it, and a
    line marks where it ends. Raises FigureError without matplotlib.
    """
    config = config or BarkConfig.small()
    seconds = _seconds(result, config)
    figure = new_figure(min(12 + seconds / 15, 30), 8)
    axes = figure.subplots(len(_PANELS), 1, sharex=True, height_ratios=[height for _, height in _PANELS])
    for ax, (paint, _) in zip(axes, _PANELS, strict=True):
        paint(ax, result, config)
        _frame(ax)
    axes[-1].set_xlim(0, seconds)
    axes[-1].tick_params(bottom=True)
    axes[-1].set_xlabel("seconds", color=_GREY, fontsize=9)
    room = figure.get_figwidth() * _CHARACTERS_PER_INCH  # in small print
    _mark(axes, boundaries, seconds, room)
    text = getattr(result, "text", "") if title is None else title
    figure.suptitle(_shortened(text, int(room * 0.7)), x=0.008, ha="left", fontsize=13, **_text_style())
    return figure


def _seconds(result: Drawable, config: BarkConfig) -> float:
    """What the time axis must hold: the longest of the stages, and a frame if they are all empty."""
    frame = 1 / config.codec.frame_rate_hz
    tokens, frames = len(result.semantic) / config.semantic.rate_hz, result.fine.shape[1] * frame
    return max(frame, len(result.waveform) / result.sample_rate, tokens, frames)


def _waveform(ax: Axes, result: Drawable, config: BarkConfig) -> None:
    """The least and the greatest sample of each column."""
    samples = len(result.waveform)
    peak = float(np.abs(result.waveform).max()) if samples else 0.0
    if samples:
        starts = np.unique(np.linspace(0, samples - 1, _COLUMNS).astype(int))
        low, high = (of.reduceat(result.waveform, starts) for of in (np.minimum, np.maximum))
        ax.fill_between(starts / result.sample_rate, low, high, color=_WAVE, linewidth=0.4)
    ax.axhline(0, color=_WAVE, linewidth=0.4)
    ax.set_ylim(-1.08 * peak or -1, 1.08 * peak or 1)
    _entitle(
        ax, "waveform", f"{samples / result.sample_rate:.2f} s at {result.sample_rate / 1000:g} kHz, peak {peak:.2g}"
    )


def _spectrogram(ax: Axes, result: Drawable, config: BarkConfig) -> None:
    samples, top = len(result.waveform), result.sample_rate / 2000
    if samples:
        extent = (0, samples / result.sample_rate, 0, top)
        ax.imshow(_decibels(result.waveform), "magma", aspect="auto", origin="lower", extent=extent, vmin=-_RANGE_DB)
    ax.set_ylim(0, top)
    ax.set_ylabel("kHz", color=_GREY, fontsize=9)
    _entitle(ax, "spectrogram", f"{_RANGE_DB} dB from black to the peak")


def _decibels(waveform: np.ndarray) -> np.ndarray:
    """Power relative to its peak, [frequencies, times]."""
    hop = max(_WINDOW // 4, -(-len(waveform) // _COLUMNS))
    padded = np.pad(waveform, (_WINDOW // 2, _WINDOW // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop] * np.hanning(_WINDOW)
    power = np.maximum(np.abs(np.fft.rfft(windows)) ** 2, 1e-12).T
    return 10 * np.log10(power / power.max())


def _semantic(ax: Axes, result: Drawable, config: BarkConfig) -> None:
    rate, vocab = config.semantic.rate_hz, config.semantic.vocab
    _raster(ax, "semantic", result.semantic[None], "tokens", rate, vocab)
    ax.set_yticks([])


def _coarse(ax: Axes, result: Drawable, config: BarkConfig) -> None:
    _raster(ax, "coarse", result.coarse, "frames", config.codec.frame_rate_hz, config.codec.codebook_size)


def _fine(ax: Axes, result: Drawable, config: BarkConfig) -> None:
    _raster(ax, "fine", result.fine, "frames", config.codec.frame_rate_hz, config.codec.codebook_size)
    ax.axhline(len(result.coarse), color="white", linewidth=1.5)  # above it the coarse codes again
    ax.set_ylabel("codebook", color=_GREY, fontsize=9)


def _raster(ax: Axes, name: str, tokens: np.ndarray, unit: str, rate: float, vocab: int) -> None:
    """Token ids [rows, T] as colours."""
    rows, length = tokens.shape
    if length:
        extent = (0, length / rate, rows, 0)
        heard = np.ma.masked_less(tokens, 0)  # −1: a pause, which stays white
        ax.imshow(heard, "viridis", aspect="auto", extent=extent, interpolation="nearest", vmin=0, vmax=vocab - 1)
    ax.axvline(length / rate, color=_INK, linewidth=1)  # where the stage ends
    ax.set_ylim(rows, 0)
    ax.set_yticks([row + 0.5 for row in range(rows)], [str(row + 1) for row in range(rows)])
    count = f"{length} {unit}" if rows == 1 else f"{rows} × {length} {unit}"
    _entitle(ax, name, f"{count}, {rate:g} per second: {length / rate:.2f} s; ids 0 … {vocab - 1} from dark to bright")


_PANELS: tuple[tuple[Callable[[Axes, Drawable, BarkConfig], None], float], ...] = (
    (_waveform, 1.4), (_spectrogram, 2.4), (_semantic, 0.5), (_coarse, 0.8), (_fine, 2.4),
)  # fmt: skip
"""From top to bottom, with their relative heights."""


def _entitle(ax: Axes, name: str, facts: str) -> None:
    ax.set_title(name, loc="left", color=_INK, fontsize=10, fontweight="bold", pad=4)
    ax.set_title(facts, loc="right", color=_GREY, fontsize=9, pad=4)


def _frame(ax: Axes) -> None:
    ax.tick_params(colors=_GREY, labelsize=8, length=3, bottom=False, left=False)
    for side in ax.spines.values():
        side.set_visible(False)


def _mark(axes: Sequence[Axes], boundaries: Sequence[tuple[float, str]], seconds: float, room: float) -> None:
    """A line through all panels where each piece begins, and as much of its label as there is room for."""
    from matplotlib.patheffects import withStroke

    seam = [withStroke(linewidth=2.5, foreground="white")]  # to be seen on dark and on bright
    for (start, label), (end, _) in pairwise([*boundaries, (seconds, "")]):
        for ax in axes:
            ax.axvline(start, color=_INK, linewidth=1, path_effects=seam)
        axes[0].text(
            start, 0.97, " " + _shortened(label, int((end - start) / seconds * room) - 1), va="top", fontsize=8,
            transform=axes[0].get_xaxis_transform(), clip_on=True, path_effects=seam, **_text_style(),
        )  # fmt: skip


def _text_style() -> dict[str, Any]:
    """Of texts from elsewhere: in any script, and not to be read as formulas."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    families = ["DejaVu Sans", *(name for name in _FONTS if name in installed)]
    return {"color": _INK, "family": families, "parse_math": False}


def _shortened(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: max(most - 1, 0)] + "…"
