"""Where a line of text may be cut: between sentences, else between clauses, else between words, else anywhere.

Sentences are found by `sentencex`, which has rules of its own for ten of Bark's languages and lends English's to ko, tr
and zh. What its lists of abbreviations lack is in `speech.abbreviations`.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import sentencex  # type: ignore[import-untyped]

from bark_jax.speech.abbreviations import ends_no_sentence
from bark_jax.text import TextError

LANGUAGES = ("en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")

# sentencex re-reads the text before each full stop in Italian: quadratic, unless the text comes in windows. A sentence
# longer than this (two minutes of speech) is cut here.
_WINDOW = 2048  # characters

_OPENERS = "\"'(\\[{«‹“‘„‚「『《（【¿¡"  # as in a regular expression's [ ]
_CLOSERS = "\"')\\]}»›”’“‘」』》）】"
_UNQUOTED = str.maketrans(dict.fromkeys('"()[]{}«»‹›“”„‚「」『』《》（）【】', " "))  # apostrophes stay
_QUOTES = "\"'«‹“‘„‚「『¿¡"
_KEPT = 80  # characters of a quotation or parenthesis that is kept whole while there is another place to cut

_WHOLE = re.compile(  # never cut while there is another place
    r"\[[^\[\]]{1,60}\]"  # [laughs]
    r"|♪[^♪]{1,160}♪"  # a line of a song
    r"|(?:https?://|www\.)[!-~]+"
    r"|[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # an e-mail address
    r"|\d++(?:[.,:/ ]\d++)*+"  # 3.14, 10:30, 24/12, 10 000
)
_ASIDE = re.compile(
    r'"[^"]*"|“[^“”]*”|„[^„“”]*[“”]|«[^«»]*»|‹[^‹›]*›|「[^「」]*」|『[^『』]*』|《[^《》]*》|\([^()]*\)|（[^（）]*）'
)
_ELLIPSIS = re.compile(rf"[…‥][{_CLOSERS}]*\s+")  # no end for sentencex
_CLAUSE = re.compile(
    rf"[，、；：—…‥،؛。！？।॥｡]+[{_CLOSERS}]*\s*"  # needs no space
    rf"|(?:[,;:–!?)♪]|\.\.|\s-)[{_CLOSERS}]*\s+"
)
# No space after a full stop, which is an abbreviation's if it ends no sentence, nor one that French sets around
# punctuation; between two Chinese or Japanese characters unless the second belongs to the first.
_CJK = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED = "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々ゝゞヽヾ・"
_WORD = re.compile(rf"(?<![.{_OPENERS}])\s(?![;:!?»›)\]—–…,.])|(?<=[{_CJK}])(?=[{_CJK}])(?![{_JOINED}])")
_SPACE = re.compile(r"\s")


def check_language(language: str) -> None:
    """Raise TextError unless the language is one of Bark's."""
    if language not in LANGUAGES:
        raise TextError(f"unknown language {language!r}; Bark speaks {', '.join(LANGUAGES)}")


def sentence_ends(text: str, language: str) -> list[int]:
    """Offsets after the sentences of a line, each with the space behind it; the last is the line's length."""
    return [*(end for end, sure in _ends(text, language) if sure and end < len(text)), len(text)]


@dataclass(frozen=True, kw_only=True)
class Breaks:
    """Offsets where one sentence may be cut, sorted, in lists by kind, the best kind first."""

    audible: tuple[list[int], ...]  # a reader would pause there
    forced: tuple[list[int], ...]


def breaks(sentence: str, language: str) -> Breaks:
    """Where to cut a sentence that is too long.

    Audible: at ends of sentences within quotations or before a small letter, at clauses. Forced: between words, at
    spaces within what should stay whole ([laughs], ♪ songs ♪, short quotations), between characters.
    """
    asides = [span.span() for span in _ASIDE.finditer(sentence) if len(span[0]) <= _KEPT]
    whole = sorted([*asides, *(span.span() for span in _WHOLE.finditer(sentence))])
    quoted_ends = [end for end, _ in _ends(sentence.translate(_UNQUOTED), language)]
    characters = [i for i in range(1, len(sentence)) if _starts_character(sentence, i)]
    return Breaks(
        audible=(
            _outside(whole, quoted_ends),
            _outside(whole, [match.end() for match in _CLAUSE.finditer(sentence)]),
        ),
        forced=(
            _outside(whole, [match.end() for match in _WORD.finditer(sentence)]),
            [match.end() for match in _SPACE.finditer(sentence)],
            _outside(whole, characters),
            characters,
        ),
    )


def _ends(text: str, language: str) -> Iterator[tuple[int, bool]]:
    """Ends of sentences, and whether they are sure: a small letter behind makes them doubtful."""
    candidates = {*_candidates(text, language), *(match.end() for match in _ELLIPSIS.finditer(text))}
    candidates = {end for end in candidates if not ends_no_sentence(text, end, language)}
    whole = [span.span() for span in _WHOLE.finditer(text)]
    for end in _outside(whole, sorted(candidates)):
        following = text[end : end + 8].lstrip(_QUOTES)[:1]
        spoken_by = text[end - 1] in "」』”" and following.isalpha()  # 「行こう。」と言った
        yield end, not (following.islower() or spoken_by)


def _candidates(text: str, language: str) -> Iterator[int]:
    start = 0
    while start < len(text):
        window = text[start : start + _WINDOW]
        ends = list(accumulate(map(len, sentencex.segment(language, window))))
        if start + len(window) < len(text):  # the last sentence may go on
            ends = ends[:-1] or [window.rfind(" ") + 1 or len(window)]
        yield from (start + end for end in ends)
        start += ends[-1]


def _outside(spans: list[tuple[int, int]], offsets: list[int]) -> list[int]:
    """The offsets (sorted) that lie in none of the spans (sorted by start)."""
    result, index, reach = [], 0, 0
    for offset in offsets:
        while index < len(spans) and spans[index][0] < offset:
            reach = max(reach, spans[index][1])
            index += 1
        if offset >= reach:
            result.append(offset)
    return result


def _starts_character(text: str, offset: int) -> bool:
    """Whether what a reader sees as one character starts there: accents, joiners and skin tones belong to the last."""
    joined = "\u200d" in text[offset - 1 : offset + 1] or "\U0001f3fb" <= text[offset] <= "\U0001f3ff"
    return not joined and not unicodedata.category(text[offset]).startswith("M")
