"""Times of words as subtitles and JSON."""

import dataclasses
import html
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bark_jax.hearing.timing import WordTime
from bark_jax.speech import subtitles
from bark_jax.speech.subtitles import LINE, Cue

_GAP = 1.0  # seconds without a word, after which a new cue begins


def words_srt(words: Iterable[WordTime]) -> str:
    """SubRip with a cue for each word."""
    return subtitles.srt(Cue(start=word.start, end=word.end, text=word.text) for word in words)


def words_vtt(words: Iterable[WordTime]) -> str:
    """WebVTT with a cue for each line, in which every word lights up in its time (karaoke)."""
    blocks = ["WEBVTT\n"]
    for line in _lines(words):
        first, rest = line[0], line[1:]
        timed = [f"<{subtitles.timestamp(word.start, '.')}>{html.escape(word.text, quote=False)}" for word in rest]
        text = " ".join([html.escape(first.text, quote=False), *timed])
        cue = Cue(start=first.start, end=max(line[-1].end, first.start + 1e-3), text="")
        blocks.append(f"{subtitles.times(cue, '.')}\n{text}\n")
    return "\n".join(blocks)


def words_json(words: Iterable[WordTime]) -> list[dict[str, Any]]:
    """What JSON holds of the words."""
    return [dataclasses.asdict(word) for word in words]


def _lines(words: Iterable[WordTime]) -> Iterator[Sequence[WordTime]]:
    """Words of at most `LINE` characters, without long gaps."""
    line: list[WordTime] = []
    for word in words:
        full = sum(len(one.text) + 1 for one in line) + len(word.text) > LINE
        if line and (full or word.start - line[-1].end > _GAP):
            yield line
            line = []
        line.append(word)
    if line:
        yield line
