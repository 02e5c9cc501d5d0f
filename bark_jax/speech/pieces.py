"""A line of text → pieces that fit one clip each."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate, pairwise
from typing import Self

from bark_jax.speech.sentences import Breaks, breaks, sentence_ends
from bark_jax.speech.songs import NOTE, song_spans, sung
from bark_jax.text import TextError

_SHORT = 2 / 11  # of the longest piece, 2 s of Bark's: a few words, better spoken with what stands beside them
_LOPSIDED = 0.25  # of the mean length of a sentence's parts: no clause that leaves less is cut off

# Characters a second of unhurried reading: estimates, to tell scripts apart (a Chinese character is a syllable).
_LETTERS = 15
_DIGITS = 5
_HAN = 4.5
_KANA = 7.5
_HANGUL = 6


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What fits one clip."""

    count_tokens: Callable[[str], int]
    max_tokens: int
    max_seconds: float  # of speech, as `seconds_of` estimates it

    def parts(self, text: str) -> int:
        """How many pieces the text has to make, at least; 1 if it fits."""
        parts = math.ceil(seconds_of(text) / self.max_seconds)
        # A text that is too long anyway is not tokenised: that takes longest.
        return parts if parts > 1 else max(1, math.ceil(self.count_tokens(text) / self.max_tokens))

    def with_room(self, text: str) -> Self:
        """These limits less the tokens of a text that is put to each piece, unless no room is left then."""
        room = self.max_tokens - self.count_tokens(text)
        return replace(self, max_tokens=room) if room > self.max_tokens // 2 else self

    def is_short(self, text: str) -> bool:
        """Whether the text is to be joined to another."""
        return seconds_of(text) < _SHORT * self.max_seconds


def seconds_of(text: str) -> float:
    """Estimate how long the text is spoken."""
    return math.fsum(map(_seconds_of_character, text))


@cache
def _seconds_of_character(character: str) -> float:
    code = ord(character)
    if character.isdecimal():
        return 1 / _DIGITS
    if 0x3041 <= code <= 0x30FF:
        return 1 / _KANA
    if 0xAC00 <= code <= 0xD7A3:
        return 1 / _HANGUL
    if 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF:
        return 1 / _HAN
    return 1 / _LETTERS


def cut(text: str, language: str, limits: Limits) -> list[str]:
    """The pieces of one line, in order: its sentences, the long ones cut, the short ones joined to a neighbour.

    Where a song is cut, both parts get a ♪. Raises TextError for a character with more tokens than a piece may have.
    """
    songs = song_spans(text)
    if songs:
        limits = limits.with_room(f"{NOTE} {NOTE}")
    ends = [0]
    for start, end in pairwise([0, *sentence_ends(text, language)]):
        ends += [start + offset for offset in _cut_sentence(text[start:end], language, limits)]
    spans: list[tuple[int, int]] = []
    for before, end in pairwise(ends):
        piece = text[before:end].strip()
        start, last = spans[-1] if spans else (0, 0)
        short = limits.is_short(piece) or limits.is_short(text[start:last].strip())
        if spans and short and limits.parts(text[start:end].strip()) == 1:
            spans[-1] = (start, end)
        elif piece:
            spans.append((before, end))
    return [sung(text, start, end, songs) for start, end in spans]


def _cut_sentence(sentence: str, language: str, limits: Limits) -> list[int]:
    """The ends of the sentence's pieces."""
    if limits.parts(sentence.strip()) == 1:
        return [len(sentence)]
    found = breaks(sentence, language)
    clock = [0.0, *accumulate(map(_seconds_of_character, sentence))]
    ends = []
    waiting = [(0, len(sentence))]  # the leftmost on top
    while waiting:
        start, end = waiting.pop()
        parts = limits.parts(sentence[start:end].strip())
        if parts == 1:
            ends.append(end)
        elif end - start == 1:
            raise TextError(f"{sentence[start:end]!r} alone has more than {limits.max_tokens} tokens: raise the limit")
        else:
            middle = _best_break(found, clock, start, end, parts)
            waiting += [(middle, end), (start, middle)]
    return ends


def _best_break(found: Breaks, clock: list[float], start: int, end: int, parts: int) -> int:
    """Where to cut so that both sides are nearly whole multiples of a part.

    `clock` has the seconds spoken before each offset.
    """
    part = (clock[end] - clock[start]) / parts
    aim = clock[start] + part * (parts // 2)
    for kind in found.audible:
        nearest = _nearest(kind, clock, aim, start, end)
        if nearest and min(clock[nearest] - clock[start], clock[end] - clock[nearest]) >= part * _LOPSIDED:
            return nearest
    for kind in found.forced:
        nearest = _nearest(kind, clock, aim, start, end)
        if nearest:
            return nearest
    return min(max(bisect_left(clock, aim), start + 1), end - 1)


def _nearest(offsets: list[int], clock: list[float], aim: float, start: int, end: int) -> int | None:
    """The offset between start and end (exclusive) whose time is nearest to the aim."""
    low, high = bisect_right(offsets, start), bisect_left(offsets, end)
    index = bisect_left(offsets, aim, low, high, key=clock.__getitem__)
    nearby = offsets[max(low, index - 1) : min(high, index + 1)]
    return min(nearby, key=lambda offset: abs(clock[offset] - aim), default=None)
