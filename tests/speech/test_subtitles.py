"""Subtitles as players read them."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_jax.speech.subtitles import LINE, LINES, Cue, split_cues, srt, vtt

HELLO = Cue(start=0.5, end=2.25, text="Hello & <welcome>.")
ANNA = Cue(start=3661.0004, end=3662, text="See --> there.", speaker="Anna & Ben")


def test_srt() -> None:
    assert srt([HELLO, ANNA]) == (
        "1\n00:00:00,500 --> 00:00:02,250\nHello & <welcome>.\n\n"
        "2\n01:01:01,000 --> 01:01:02,000\nAnna & Ben: See → there.\n"
    )


def test_vtt() -> None:
    assert vtt([HELLO, ANNA]) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:02.250\nHello &amp; &lt;welcome&gt;.\n\n"
        "01:01:01.000 --> 01:01:02.000\n<v Anna &amp; Ben>See --&gt; there.\n"
    )


def test_nothing_said_is_nothing_shown() -> None:
    silent = Cue(start=1, end=1, text="Nothing came of this.")
    assert srt([]) == srt([silent]) == ""
    assert vtt([silent]) == "WEBVTT\n"


def test_a_long_text_is_shown_in_parts_as_long_as_they_are() -> None:
    text = " ".join(["word"] * 50)
    cues = list(split_cues([Cue(start=10, end=30, text=text)]))
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == text
    assert (cues[0].start, cues[-1].end) == (10, 30)
    lengths = [len(cue.text) for cue in cues]
    assert max(lengths) - min(lengths) <= 2 * len("word ")
    speeds = [len(cue.text) / (cue.end - cue.start) for cue in cues]
    assert max(speeds) == pytest.approx(min(speeds))


TEXTS = st.text(st.characters(exclude_categories=["C"]), max_size=300)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 20), TEXTS)))
def test_cues_fit_the_screen_in_order(spans: list[tuple[float, float, str]]) -> None:
    cues = [Cue(start=start, end=start + length, text=text) for start, length, text in sorted(spans)]
    shown = list(split_cues(cues))
    for cue in shown:
        assert all(len(line) <= LINE for line in cue.text.split("\n"))
        assert cue.text.count("\n") < LINES
        assert cue.start < cue.end
    assert all(first.end <= second.start for first, second in itertools.pairwise(shown))
    assert len(re.findall(r"^\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}$", vtt(cues), re.M)) == len(shown)
