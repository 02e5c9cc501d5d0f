"""Any text → a script: pieces short enough for one clip each, with their speakers and the silence between them.

    The door opens.
    ANNA: Have you seen it?
    BEN: Once, [pause 500ms] long ago.

- Blank lines separate paragraphs; other line breaks are spaces.
- A line that starts with the name of a known speaker and a colon switches to that speaker until the next such line,
  across paragraphs; the text before the first one has the default voice. Names match in any letter case, also in the
  forms of `speech.labels`; what a label has in parentheses is not spoken, with a warning. Without known speakers a
  colon is plain text.
- Pause marks and SSML are those of `speech.marks`. A pause mark ends a piece; its silence replaces the punctuation's,
  and marks in a row add up.
- A song is what stands between two ♪. Each piece of it has both.
"""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from numbers import Integral, Real

from bark_jax.settings import SettingsError
from bark_jax.speech.labels import almost_label, find_speaker, known_speakers, read_label
from bark_jax.speech.language import ENGLISH, Language, choose_language
from bark_jax.speech.marks import MAX_PAUSE, Pause, read_marks
from bark_jax.speech.pieces import Limits, cut
from bark_jax.speech.songs import close_songs, pair_notes
from bark_jax.text import TextError, TextWarning, compose, name_all, normalize

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
    language: Language = ENGLISH
    voices: tuple[str, ...] = ()  # asked for by `<voice name="…">`: they are speakers of these names

    @property
    def is_plain(self) -> bool:
        """Whether one clip with the default voice is all there is."""
        return len(self.pieces) == 1 and not self.lead and not self.pieces[0].pause and self.pieces[0].speaker is None


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
    language: str | Language = ENGLISH,
    speakers: Collection[str] = (),
    pauses: Pauses = _PAUSES,
    max_seconds: float = 11.0,
) -> Script:
    """Cut a text of any length into pieces of at most `max_tokens` tokens and about `max_seconds` of speech.

    A piece is a sentence. The long ones are cut at clauses near balance, else between words, else between characters;
    those of a few words are joined to a neighbour of the same paragraph and speaker. The pieces have all the text, in
    order, but marks, labels, whitespace, and passages without a token; pieces within a song have a ♪ more. After the
    last one there is no silence unless a mark stands there.

    `language` is one of `sentences.LANGUAGES`. `count_tokens` is called more than once for a piece. `max_seconds` is by
    estimated rates of reading, and voices differ: the default leaves a margin to the 15.4 s of a clip of Bark's.

    Warns with TextWarning of SSML that is ignored, of what labels have in parentheses, of what is almost a label, and
    of speakers without a line.
    Raises TextError for a pause that is too long, an unknown language, unusable names, a text with nothing to speak,
    and a character with more than `max_tokens` tokens; SettingsError for limits out of range.
    """
    normalize(text)  # refuses what no clip can speak
    language = language if isinstance(language, Language) else choose_language(language, (), text)
    known = known_speakers(speakers)
    _require(_is_a(Integral, max_tokens) and max_tokens >= 1, "max_tokens", "an integer ≥ 1", max_tokens)
    _require(_is_a(Real, max_seconds) and 1 <= max_seconds < float("inf"), "max_seconds", "a number ≥ 1", max_seconds)
    limits = Limits(count_tokens=count_tokens, max_tokens=max_tokens, max_seconds=max_seconds)
    lead = 0.0
    spoken: list[_Passage] = []  # one a piece
    for passage in _read(text, known, pauses):
        texts = cut(normalize(passage.text), language.tag, limits) if passage.text.strip() else []
        spoken += [replace(passage, text=piece, mark=None) for piece in texts if count_tokens(piece)]
        if passage.mark is None:
            continue
        if spoken:
            spoken[-1] = replace(spoken[-1], mark=(spoken[-1].mark or 0.0) + passage.mark)
        else:
            lead += passage.mark
    if not spoken:
        raise TextError(f"nothing in the text can be spoken: {text[:200]!a}")
    heard = dict.fromkeys(passage.speaker for passage in spoken if passage.speaker is not None)
    if silent := [name for name in speakers if name not in heard]:
        warnings.warn(f"speakers without a line in the text: {name_all(silent)}", TextWarning, stacklevel=2)
    tagged = tuple(name for name in heard if name not in speakers)
    return Script(lead=lead, pieces=_pieces(spoken, pauses), language=language, voices=tagged)


def _read(text: str, known: Mapping[str, str], pauses: Pauses) -> list[_Passage]:
    """The passages of a text, songs closed."""
    reader = _Reader(known, pauses)
    text, songs = pair_notes("\n".join(compose(text).removeprefix("\ufeff").splitlines()))
    passages = list(reader.passages(text))
    if songs:
        warnings.warn(f"a song without a ♪ at its end: {name_all(songs)}", TextWarning, stacklevel=3)
    if reader.asides:
        warnings.warn(f"not spoken, being part of a label: {name_all(reader.asides)}", TextWarning, stacklevel=3)
    if reader.doubtful:
        warnings.warn(f"read out, not being labels: {name_all(reader.doubtful)}", TextWarning, stacklevel=3)
    texts = close_songs([passage.text for passage in passages])
    return [replace(passage, text=song) for passage, song in zip(passages, texts, strict=True)]


class _Reader:
    """Reads a text from its beginning, and knows who speaks."""

    def __init__(self, known: Mapping[str, str], pauses: Pauses) -> None:
        self._known, self._pauses = known, pauses
        self._labelled: str | None = None  # by the last label
        self._tagged: str | None = None  # by the `<voice>` around
        self._paragraph = 0
        self.asides: list[str] = []  # "(laughing)", of labels
        self.doubtful: list[str] = []  # "Anna, whispering:"

    def passages(self, text: str) -> Iterator[_Passage]:
        for part in read_marks(text):
            if isinstance(part, str):
                yield from self._text(part)
            elif isinstance(part, Pause):
                yield self._passage("", self._pauses.mark if part.seconds is None else part.seconds)
            else:
                self._tagged = part.name and (find_speaker(part.name, self._known) or part.name)

    def _passage(self, text: str, mark: float | None = None) -> _Passage:
        return _Passage(text=text, speaker=self._tagged or self._labelled, paragraph=self._paragraph, mark=mark)

    def _text(self, text: str) -> Iterator[_Passage]:
        for index, block in enumerate(re.split(r"\n\s*\n", text)):
            self._paragraph += bool(index)
            speech: list[str] = []
            for line in block.split("\n"):
                label = read_label(line, self._known)
                if label is None:
                    speech.append(line)
                    self.doubtful += filter(None, [almost_label(line, self._known)])
                    continue
                yield self._passage("\n".join(speech))
                self._labelled, speech = label.speaker, [label.text]
                if label.aside:
                    self.asides.append(f"({label.aside})")
            yield self._passage("\n".join(speech))


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
