"""Subtitles: who says what, when, as SubRip (.srt) and WebVTT (.vtt)."""

import html
import itertools
import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LINE = 42  # characters of a line, and
LINES = 2  # lines of a cue, at most, as broadcasters have it


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A text that is shown for a while."""

    start: float  # seconds
    end: float
    text: str
    speaker: str | None = None


def srt(cues: Iterable[Cue]) -> str:
    """The cues as a SubRip file: numbered, with speakers as "NAME: text"."""
    blocks = []
    for number, cue in enumerate(split_cues(cues), 1):
        text = f"{cue.speaker}: {cue.text}" if cue.speaker else cue.text
        text = text.replace("-->", "→")  # which would be a time line
        blocks.append(f"{number}\n{times(cue, ',')}\n{text}\n")
    return "\n".join(blocks)


def vtt(cues: Iterable[Cue]) -> str:
    """The cues as a WebVTT file, with speakers as voice spans."""
    blocks = ["WEBVTT\n"]
    for cue in split_cues(cues):
        voice = f"<v {html.escape(cue.speaker, quote=False)}>" if cue.speaker else ""
        blocks.append(f"{times(cue, '.')}\n{voice}{html.escape(cue.text, quote=False)}\n")
    return "\n".join(blocks)


def split_cues(cues: Iterable[Cue]) -> Iterator[Cue]:
    """Cues of at most two lines, in order and without overlap; without those that last less than a millisecond.

    A longer text becomes several cues. When each begins is an estimate: as if all characters took equally long to say.
    """
    shown = 0.0  # seconds, until which the cues before are shown
    for cue in cues:
        start, end = max(cue.start, shown), max(cue.end, shown)
        texts = _split(cue.text)
        parts = list(itertools.accumulate(map(len, texts), initial=0))
        times = [min(end, start + (end - start) * part / max(1, parts[-1])) for part in parts]  # rounding may exceed it
        for text, (first, last) in zip(texts, itertools.pairwise(times), strict=True):
            if _milliseconds(first) < _milliseconds(last):
                yield Cue(start=first, end=last, text=text, speaker=cue.speaker)
        shown = end


def _split(text: str) -> list[str]:
    """A text as few parts of at most two lines, of lengths as equal as its words allow."""
    lines = textwrap.wrap(text, LINE)
    count = math.ceil(len(lines) / LINES)
    for width in range(len(text) // max(1, count), LINE * LINES):
        parts = [textwrap.wrap(part, LINE) for part in textwrap.wrap(text, max(1, width))]
        if len(parts) <= count and all(len(part) <= LINES for part in parts):
            return ["\n".join(part) for part in parts]
    return ["\n".join(lines[i : i + LINES]) for i in range(0, len(lines), LINES)]


def times(cue: Cue, point: str) -> str:
    """The line with the times of a cue; point: before the milliseconds."""
    return f"{timestamp(cue.start, point)} --> {timestamp(cue.end, point)}"


def timestamp(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds."""
    whole, milliseconds = divmod(_milliseconds(seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
