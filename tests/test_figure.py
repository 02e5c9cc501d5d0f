"""Pictures of clips: what they show, and how they are refused."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Generation
from bark_jax.figure import FigureError, check_figure, draw, save_figure

PANELS = ("waveform", "spectrogram", "semantic", "coarse", "fine")


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def clip(bark: Bark) -> Generation:
    return bark.generate("A picture: $x_1$ & <b>.", seed=1, max_seconds=1, allow_early_stop=False)


def test_all_stages_share_one_time_axis(bark: Bark, clip: Generation) -> None:
    figure = draw(clip, config=bark.config)
    assert [ax.get_title("left") for ax in figure.axes] == list(PANELS)
    assert all(ax.get_xlim() == (0, pytest.approx(clip.seconds, abs=0.05)) for ax in figure.axes)
    rasters = [np.asarray(ax.images[0].get_array()) for ax in figure.axes[2:]]
    for raster, tokens in zip(rasters, (clip.semantic[None], clip.coarse, clip.fine), strict=True):
        np.testing.assert_array_equal(raster, tokens)
    assert figure.get_suptitle() == clip.text


def test_pieces_are_marked_in_every_panel(bark: Bark, clip: Generation) -> None:
    plain, marked = (draw(clip, config=bark.config, boundaries=b) for b in ((), [(0.0, "One."), (0.5, "Two.")]))
    lines = [len(b.lines) - len(a.lines) for a, b in zip(plain.axes, marked.axes, strict=True)]
    assert lines == [2] * len(PANELS)
    assert [text.get_text().strip() for text in marked.axes[0].texts] == ["One.", "Two."]


def test_a_long_text_is_drawn_where_it_is_heard(bark: Bark) -> None:
    speech = bark.speak("One. [pause 0.5] Two.", seed=1, max_seconds=0.5)
    timeline, rate = speech.timeline(bark.config), bark.config.semantic.rate_hz
    first, second = speech.pieces
    assert len(timeline.semantic) == pytest.approx(speech.seconds * rate, abs=1)
    silent = timeline.semantic[round(first.end * rate) : round(second.start * rate)]
    assert len(silent) == pytest.approx(0.5 * rate, abs=1)
    assert (silent == -1).all()
    heard = timeline.fine[:, round(second.start * 75) : round(second.end * 75)]
    np.testing.assert_array_equal(heard, second.tokens.fine[:, : heard.shape[1]])
    rasters, rows = draw(timeline, config=bark.config).axes[2:], (timeline.semantic[None], *timeline[3:])
    for ax, tokens in zip(rasters, rows, strict=True):
        drawn = ax.images[0].get_array()
        np.testing.assert_array_equal(np.ma.getmaskarray(drawn), tokens == -1)  # not as token 0


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_suffix_chooses_the_format(bark: Bark, clip: Generation, tmp_path: Path, suffix: str) -> None:
    save_figure(draw(clip, config=bark.config), tmp_path / f"a{suffix}")
    magic = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"a{suffix}").read_bytes().startswith(magic)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_empty_clip_is_an_empty_picture(bark: Bark, tmp_path: Path) -> None:
    nothing = np.zeros((8, 0), np.int32)
    empty = Generation(
        text="", seed=0, sample_rate=24_000, waveform=np.zeros(0, np.float32), semantic=nothing[0],
        coarse=nothing[:2], fine=nothing, timings={},
    )  # fmt: skip
    save_figure(draw(empty, config=bark.config), tmp_path / "a.png")


@pytest.mark.parametrize(("path", "message"), [("a.jpg", "must end in .png"), ("nowhere/a.png", "cannot write")])
def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(FigureError, match=message):
        check_figure(tmp_path / path)


def test_without_matplotlib_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FigureError, match=r"pip install 'bark-jax\[figure\]'"):
        check_figure(tmp_path / "a.png")


def test_the_spectrogram_shows_a_tone_where_it_is(clip: Generation) -> None:
    tone = np.sin(2 * np.pi * 3000 * np.arange(24_000) / 24_000).astype(np.float32)
    power = np.asarray(draw(replace(clip, waveform=tone)).axes[1].images[0].get_array())  # [frequencies, times]
    assert power.argmax(axis=0)[5:-5] * 24 / 1024 == pytest.approx(3, abs=24 / 1024)  # kHz
    assert power.max() == pytest.approx(0)


def test_silence_and_minutes_are_drawn_in_the_columns_that_are_seen(clip: Generation, tmp_path: Path) -> None:
    figure = draw(replace(clip, waveform=np.zeros(24_000 * 120, np.float32)))
    assert np.asarray(figure.axes[1].images[0].get_array()).shape[1] <= 2001
    save_figure(figure, tmp_path / "a.png")


@pytest.mark.parametrize("text", ["costs $5 or $6_7", "聲音 आवाज़ صوت 😀", "two\nlines", "x" * 5000])
def test_any_text_can_be_a_title_and_a_label(clip: Generation, tmp_path: Path, text: str) -> None:
    figure = draw(replace(clip, text=text), boundaries=[(0.5, text)])
    save_figure(figure, tmp_path / "a.svg")
    assert len(figure.get_suptitle()) < 200


def test_a_failed_figure_leaves_the_old_file(clip: Generation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    path, figure = tmp_path / "a.png", draw(clip)
    path.write_text("old")
    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(FigureError, match=r"a\.png: no space left"):
        save_figure(figure, path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.png", "old")]
