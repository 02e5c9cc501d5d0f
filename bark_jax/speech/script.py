"""Any text → a script: pieces short enough for one clip each, with their speakers and the silence between them.

    The door opens.
    ANNA: Have you seen it?
    BEN: Once, [pause 500ms] long ago.

- Blank lines separate paragraphs; other line breaks are spaces.
- A line that starts with the name of a known speaker and a colon switches to that speaker until the next such line,
  across paragraphs; the text before the first one has the default voice. Names match exactly, capitals included.
  Without known speakers a colon is plain text.
- `[pause]`, `[pause 2]`, `[pause 0.5s]` and `[pause 500ms]` end a piece; their silence replaces the punctuation's, and
  marks in a row add up. Any other bracket that starts with "pause" is an error: a mistyped mark is not spoken.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import groupby, zip_longest
from numbers import Integral, Real

from bark_jax.settings import SettingsError
from bark_jax.speech.pieces import Limits, cut
from bark_jax.speech.sentences import check_language
from bark_jax.text import TextError, normalize

MAX_PAUSE = 60  # seconds, of one mark

_MARK = re.compile(r"(\[\s*pause[^\[\]]*\]?)", re.IGNORECASE)
_DURATION = re.compile(r"\[\s*pause(?:\s+(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>m?s)?)?\s*\]", re.IGNORECASE)
_BRACKETED = re.compile(r"\[[^\[\]]*\]")
_ENDINGS = {  # what is behind the last letter: the field of Pauses that applies
    "clause": r"[-,;:–—)，、；：،؛）]",
    "sentence": r"[.।॥。．｡]",
    "question": r"[?!？！؟]",
    "ellipsis": r"…|‥|\.\.",
}


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _require(fits: bool, name: str, what: str, value: object) -> None:
    if not fits:
        raise SettingsError(f"{name} must be {what}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Seconds of silence after a piece, by what ends it. Raises SettingsError for one outside 0 … 60.

    Where several apply the longest counts: a question may end a paragraph.
    """

    cut: float = 0.0  # a clause too long for one clip
    clause: float = 0.1
    sentence: float = 0.25
    question: float = 0.3  # or exclamation
    ellipsis: float = 0.4
    speaker: float = 0.4  # another one follows
    paragraph: float = 0.7
    mark: float = 1.0  # [pause] without a number; replaces the others

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            fits = _is_a(Real, value) and 0 <= value <= MAX_PAUSE
            _require(fits, f"the pause {field.name!r}", f"a number of seconds in 0 … {MAX_PAUSE}", value)


_PAUSES = Pauses()


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What one clip speaks."""

    text: str  # normalised
    speaker: str | None  # None: the default voice
    pause: float  # seconds of silence after it
    paragraph: int  # counted from 0


@dataclass(frozen=True, kw_only=True)
class Script:
    """A text in pieces, in the order they are spoken."""

    lead: float  # seconds of silence before the first piece
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class _Passage:
    """What one speaker says in one paragraph up to a pause mark, or one piece of it."""

    text: str
    speaker: str | None
    paragraph: int
    mark: float | None  # seconds of the pause mark behind it


def write_script(
    text: str,
    *,
    count_tokens: Callable[[str], int],
    max_tokens: int,
    language: str = "en",
    speakers: Collection[str] = (),
    pauses: Pauses = _PAUSES,
    max_seconds: float = 11.0,
) -> Script:
    """Cut a text of any length into pieces of at most `max_tokens` tokens and about `max_seconds` of speech.

    A piece is a sentence. The long ones are cut at clauses near balance, else between words, else between characters;
    those of a few words are joined to a neighbour of the same paragraph and speaker. The pieces have all the text, in
    order, but marks, labels, whitespace, and passages without a token. After the last one there is no silence unless a
    mark stands there.

    `language` is one of `sentences.LANGUAGES`. `max_seconds` is by estimated rates of reading, and voices differ: the
    default leaves a margin to the 15.4 s of a clip of Bark's. Raises TextError for an unusable mark, an unknown
    language, unusable names, a text with nothing to speak, and a character with more than `max_tokens` tokens;
    SettingsError for limits out of range.
    """
    normalize(text)  # refuses what no clip can speak
    check_language(language)
    _check_speakers(speakers)
    _require(_is_a(Integral, max_tokens) and max_tokens >= 1, "max_tokens", "an integer ≥ 1", max_tokens)
    _require(_is_a(Real, max_seconds) and 1 <= max_seconds < float("inf"), "max_seconds", "a number ≥ 1", max_seconds)
    count_tokens = cache(count_tokens)  # the dear part
    limits = Limits(count_tokens=count_tokens, max_tokens=max_tokens, max_seconds=max_seconds)
    lead = 0.0
    spoken: list[_Passage] = []  # one a piece
    for passage in _passages(text.removeprefix("\ufeff"), speakers, pauses):
        texts = cut(normalize(passage.text), language, limits) if passage.text.strip() else []
        spoken += [replace(passage, text=piece, mark=None) for piece in texts if count_tokens(piece)]
        if passage.mark is None:
            continue
        if spoken:
            spoken[-1] = replace(spoken[-1], mark=(spoken[-1].mark or 0.0) + passage.mark)
        else:
            lead += passage.mark
    if not spoken:
        raise TextError(f"nothing in the text can be spoken: {text[:200]!a}")
    return Script(lead=lead, pieces=_pieces(spoken, pauses))


def _passages(text: str, speakers: Collection[str], pauses: Pauses) -> Iterator[_Passage]:
    speaker = None
    blocks = [
        "\n".join(lines) for blank, lines in groupby(text.splitlines(), lambda line: not line.strip()) if not blank
    ]
    for paragraph, block in enumerate(blocks):
        parts = _MARK.split(block)  # text, mark, text, …, text
        for part, mark in zip_longest(parts[::2], parts[1::2]):
            *speeches, (speaker, last) = _speeches(part, speakers, speaker)
            for name, speech in speeches:
                yield _Passage(text=speech, speaker=name, paragraph=paragraph, mark=None)
            seconds = _duration(mark, pauses) if mark else None
            yield _Passage(text=last, speaker=speaker, paragraph=paragraph, mark=seconds)


def _speeches(text: str, speakers: Collection[str], speaker: str | None) -> Iterator[tuple[str | None, str]]:
    """(speaker, what they say), at least one; the first is by the given speaker, and may be empty."""
    speech: list[str] = []
    for line in text.split("\n"):
        name, *rest = re.split("[:：]", line, maxsplit=1)
        if rest and name.strip() in speakers:
            yield speaker, "\n".join(speech)
            speaker, speech = name.strip(), rest
        else:
            speech.append(line)
    yield speaker, "\n".join(speech)


def _duration(mark: str, pauses: Pauses) -> float:
    match = _DURATION.fullmatch(mark)
    if match:
        number, unit = match["number"], match["unit"] or "s"
        seconds = pauses.mark if number is None else float(number) / (1000 if unit.lower() == "ms" else 1)
        if seconds <= MAX_PAUSE:
            return float(seconds)
    raise TextError(
        f"{mark[:40]!r} is no pause: write [pause], [pause 2], [pause 0.5s] or [pause 500ms], of at most {MAX_PAUSE} s"
    )


def _pieces(spoken: list[_Passage], pauses: Pauses) -> tuple[Piece, ...]:
    numbers = {paragraph: i for i, paragraph in enumerate(dict.fromkeys(piece.paragraph for piece in spoken))}
    return tuple(
        Piece(
            text=piece.text,
            speaker=piece.speaker,
            pause=_pause(piece, following, pauses),
            paragraph=numbers[piece.paragraph],
        )
        for piece, following in zip_longest(spoken, spoken[1:])
    )


def _pause(piece: _Passage, following: _Passage | None, pauses: Pauses) -> float:
    if piece.mark is not None:
        return piece.mark
    if following is None:
        return 0.0
    tail = re.split(r"\w", _BRACKETED.sub("", piece.text))[-1]
    silences = [pauses.cut, *(getattr(pauses, name) for name, marks in _ENDINGS.items() if re.search(marks, tail))]
    if following.speaker != piece.speaker:
        silences.append(pauses.speaker)
    if following.paragraph != piece.paragraph:
        silences.append(pauses.paragraph)
    return float(max(silences))


def _check_speakers(speakers: Collection[str]) -> None:
    if isinstance(speakers, str) or not isinstance(speakers, Collection):
        raise TextError(f"speakers are a collection of names, not {speakers!r}")
    for name in speakers:
        if not isinstance(name, str) or not name or name != " ".join(name.split()) or re.search("[:：]", name):
            raise TextError(f"a speaker's name is a line of text without a colon or outer spaces, not {name!r}")
