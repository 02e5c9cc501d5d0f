"""When each word of a clip is said, from what the semantic stage looked at while it made it.

Axes: H heads of all layers, N semantic tokens, P tokens of the text.

Some heads follow the text: each semantic token looks at the word that is being said. Which ones do so is found in every
clip by itself. For each head the best path is searched that walks through the text from left to right, and a head
counts by the attention that lies on its path. The best heads together are smoothed and searched once more, and that
path gives every word its first token. What is read is said a little later (`LEAD`, measured with nano against forced
alignment).
After the last word attention leaves the text: where sound lasts longer, it is a tail that nobody asked for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEAD = 2  # tokens by which attention is ahead of the voice
TAIL = 0.4  # seconds after the last word that need not be a tail
_NEAR = 0.5  # of the best head's attention: heads that count
_SMOOTH, _SMOOTH_END = 3, 7  # tokens
_FLOOR = 1e-3  # of attention, before its logarithm
_SKIP = -6.0  # log-score of leaving tokens of the text out
_SAID = 0.5  # attention on the last word, below which it is over
_SOUND_DB = 35.0  # what is softer than the loudest part of a clip by more is no sound
_FRAME = 0.01  # seconds
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class WordTime:
    """A word and when it is heard."""

    text: str  # as it is spoken: of the cleaned, normalised text
    start: float  # seconds in the clip's or speech's audio
    end: float
    span: tuple[int, int] | None  # characters of the caller's text; None where cleaning has replaced it


class Followed(NamedTuple):
    """How a clip walks through its text."""

    position: npt.NDArray[np.int64]  # [N] token of the text
    attention: Floats  # [N, P] of the chosen heads together
    confidence: float  # attention on the path of the best head, 0 … 1


def follow(attention: Floats) -> Followed:
    """The path of attention [H, N, P] through the text."""
    paths = [(weights, walk(weights)) for weights in attention.astype(np.float32)]
    marks = np.array([weights[np.arange(len(path)), path].mean() for weights, path in paths])
    kept = marks >= _NEAR * marks.max()
    together = np.tensordot(marks[kept] / marks[kept].sum(), attention[kept].astype(np.float32), axes=1)
    smooth = np.stack([_smoothed(column, _SMOOTH) for column in together.T], axis=1)
    return Followed(walk(smooth), smooth, float(marks.max()))


def walk(weights: Floats) -> npt.NDArray[np.int64]:
    """The most probable way from the first token of the text to the right, for weights [N, P]: int [N]."""
    score = np.log(weights.astype(np.float64) + _FLOOR)
    steps, places = score.shape
    best = np.full(places, -np.inf)
    best[0] = score[0, 0]
    came = np.zeros((steps, places), np.int64)
    here = np.arange(places)
    for step in range(1, steps):
        ahead = np.concatenate([[-np.inf], best[:-1]])
        farthest = np.maximum.accumulate(best)
        origin = np.maximum.accumulate(np.where(best >= farthest, here, 0))
        jump = np.concatenate([[-np.inf, -np.inf], farthest[:-2] + _SKIP])[:places]
        options = np.stack([best, ahead, jump])
        choice = options.argmax(axis=0)
        sources = np.stack([here, here - 1, np.concatenate([[0, 0], origin[:-2]])[:places]])
        came[step] = sources[choice, here]
        best = options[choice, here] + score[step]
    path = np.zeros(steps, np.int64)
    path[-1] = best.argmax()
    for step in range(steps - 1, 0, -1):
        path[step - 1] = came[step, path[step]]
    return path


def _smoothed(values: Floats, width: int) -> Floats:
    smooth: Floats = np.convolve(values, np.ones(width) / width, "same")[: len(values)].astype(np.float32)
    return smooth


def words_of(text: str) -> list[tuple[int, int]]:
    """The spans of words: what is between spaces, and single characters of Chinese and Japanese."""
    found = (match.span() for match in _WORD.finditer(text))
    return [span for span in found if any(character.isalnum() for character in text[slice(*span)])]


def time_words(
    followed: Followed,
    text: str,
    offsets: Sequence[tuple[int, int]],
    rate_hz: float,
    waveform: Floats,
    sample_rate: int,
) -> tuple[list[WordTime], float]:
    """The words that were said of a normalised text, and the seconds of the tail.

    offsets: the span in the text of each of its P tokens. waveform: of the clip; words begin and end with sound in it.
    Spans are those of the text (see `find_spans`).
    """
    tokens = len(followed.position)
    spans, firsts = _first_tokens(text, offsets[: followed.attention.shape[1]])
    starts = [_arrival(followed.position, first) for first in firsts]
    said = [(span, start) for span, start in zip(spans, starts, strict=True) if start is not None]
    if not said:
        return [], 0.0
    end = _end_of_text(followed, firsts[len(said) - 1], said[-1][1]) if len(said) == len(spans) else tokens
    tail = (tokens - end) / rate_hz
    edges = [start + LEAD if number else start for number, (_, start) in enumerate(said)]
    edges.append(tokens if tail < TAIL else min(tokens, end + LEAD))
    sound = _sound(waveform, sample_rate)
    words = []
    for (span, _), first, last in zip(said, edges, edges[1:], strict=False):
        begin, stop = _to_sound(first / rate_hz, max(first, last) / rate_hz, sound)
        words.append(WordTime(text=text[slice(*span)], start=begin, end=stop, span=span))
    return words, tail if tail >= TAIL else 0.0


def _first_tokens(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """Words that have tokens, and their first ones."""
    spans, firsts = [], []
    for first, last in words_of(text):
        own = [i for i, (begin, _) in enumerate(offsets) if first <= begin < last and text[begin].isalnum()]
        if own:
            spans.append((first, last))
            firsts.append(own[0])
    return spans, firsts


def _arrival(position: npt.NDArray[np.int64], token: int) -> int | None:
    reached = np.flatnonzero(position >= token)
    return int(reached[0]) if len(reached) else None


def _end_of_text(followed: Followed, last: int, start: int) -> int:
    """The token at which the last word, whose first token of text is `last`, is over."""
    on_it = _smoothed(followed.attention[:, last:].sum(axis=1), _SMOOTH_END)[start:]
    strong = np.flatnonzero(on_it >= _SAID)
    if not len(strong):
        return len(followed.position)
    over = np.flatnonzero(on_it[strong[0] :] < _SAID)
    return start + int(strong[0] + over[0]) if len(over) else len(followed.position)


def _sound(waveform: Floats, sample_rate: int) -> npt.NDArray[np.bool_]:
    """Which frames of a clip hold sound."""
    size = max(1, round(_FRAME * sample_rate))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    level = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
    return level > level.max(initial=0) * 10 ** (-_SOUND_DB / 20)


def _to_sound(start: float, end: float, sound: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The time from the first to the last sound within; as it is where there is none."""
    first, last = round(start / _FRAME), round(end / _FRAME)
    heard = np.flatnonzero(sound[first:last])
    if not len(heard):
        return start, end
    return max(start, (first + int(heard[0])) * _FRAME), min(end, (first + int(heard[-1]) + 1) * _FRAME)


def find_spans(words: Sequence[WordTime], text: str) -> list[WordTime]:
    """The same words with their spans in the caller's text: pauses, names of speakers and marks in it are passed by."""
    places = words_of(text)
    theirs, ours = [_plain(text[slice(*place)]) for place in places], [_plain(word.text) for word in words]
    spans: list[tuple[int, int] | None] = [None] * len(words)
    for a, b, size in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        spans[a : a + size] = places[b : b + size]
    return [
        WordTime(text=word.text, start=word.start, end=word.end, span=span)
        for word, span in zip(words, spans, strict=True)
    ]


def _plain(word: str) -> str:
    """A word by its letters and digits only: typography may have been cleaned."""
    return "".join(filter(str.isalnum, word)).casefold() or word
