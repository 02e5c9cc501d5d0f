"""Who speaks a line: "ANNA: Hi.", "**Anna:** Hi.", "[Anna]: Hi.", "- Anna: Hi.", "Anna (laughing): Hi.".

Names may also be quoted, or tags without a colon, "[Anna] Hi.", and stand beside a time, as in transcripts:
"[00:12] Anna: Hi.", "Anna (00:12): Hi.", "12/24/24, 10:30 - Anna: Hi.".
"""

import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bark_jax.speech.marks import find_marks
from bark_jax.text import TextError, TextWarning, compose, name_all

_COLON = re.compile("[:：]")
_BULLET = re.compile(r"^\s*(?:(?:[-–—•+*>]|\d{1,3}[.)])\s+)+")
_ASIDE = re.compile(r"(?<=\S)\s*[(（\[](?P<aside>[^()（）\[\]]*)[)）\]](?P<behind>[*_\s]*)$")
_DRESS = "*_~[](){}<>【】「」『』《》\"'«»“”„‘’ \t"  # around a name
_CLOSERS = re.compile(r"\s*[\])}]")  # of a bracket that was opened before the name: "[Anna:] Hi."
_CLOCK = r"\d{1,2}(?::\d\d){1,2}(?:[.,]\d+)?(?:\s*[ap]\.?m\b\.?)?"
_TIME = re.compile(  # "[00:12 - 00:15]", "(10:30 AM)", "12/24/24, 10:30"
    rf"[\[(]?\b(?:\d{{1,4}}[./-]\d{{1,2}}[./-]\d{{1,4}},?\s+)?{_CLOCK}(?:\s*(?:-->|[-–—])\s*{_CLOCK})?(?!\w)[\])]?",
    re.IGNORECASE,
)
_TAGGED = re.compile(
    r"\s*(?:\[(?P<square>[^\[\]]+)\]|<(?P<angle>[^<>]+)>|【(?P<lens>[^【】]+)】)\s+(?=\S)"
)  # "[Anna] Hi."
_TURKISH_I = str.maketrans("İIı", "iii")  # of which the letter case is another in Turkish
_CLAUSE = re.compile(r"[,;–—&/+]|\s-\s|\sand\s")
_FEW = 3  # words between a name and a colon
_EMPHASIS = re.compile(r"\s*[*_]{1,3}(?=\s|$)")  # that closes behind the colon
_LABEL = re.compile(
    r"^[ \t]*(?:[-–—•+*>][ \t]+)?(?P<dress>[*_\[]*)(?P<name>[^\W\d_][\w.'’-]*(?: [\w.'’-]+){0,2})[\]*_]*"
    r"(?:[ \t]*\([^()\n]*\))?[*_]*[ \t]*[:：][*_]*[ \t]+\S",
    re.MULTILINE,
)
_BARKS_OWN = ("man", "woman", "narrator")  # labels that Bark itself was trained with


class Line(NamedTuple):
    """A line that begins with a speaker's name."""

    speaker: str
    aside: str  # how it is said: "laughing"
    text: str


def known_speakers(names: Collection[str]) -> dict[str, str]:
    """What to look up → the name as given; of names that differ in letter case alone the first is found by all others.

    Raises TextError for what cannot be a name.
    """
    if isinstance(names, str) or not isinstance(names, Collection):
        raise TextError(f"speakers are a collection of names, not {names!r}")
    known: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name or name != " ".join(name.split()) or _COLON.search(name):
            raise TextError(f"a speaker's name is a line of text without a colon or outer spaces, not {name!r}")
        known.setdefault(_fold(compose(name)), name)
    return {**known, **{compose(name): name for name in names}}


def find_speaker(name: str, known: Mapping[str, str]) -> str | None:
    """The known speaker of that name, in any letter case."""
    name = " ".join(name.split())
    return known.get(name) or known.get(_fold(name))


def _fold(name: str) -> str:
    return name.translate(_TURKISH_I).casefold()


def read_label(line: str, known: Mapping[str, str]) -> Line | None:
    """The line of a known speaker, without the label; None for another line."""
    head, *rest = _COLON.split(line, maxsplit=1)
    if rest and (speaker := find_speaker(head, known)):
        return Line(speaker, "", rest[0])
    line = _without_time(line)
    head, *rest = _COLON.split(line, maxsplit=1)
    if not rest:
        return _read_tag(line, known)
    head = _BULLET.sub("", head, count=1)
    if head.lstrip().startswith(("[", "(", "{")):
        rest[0] = _CLOSERS.sub("", rest[0], count=1)
    for name, how in _without_asides(head):
        if speaker := find_speaker(name.strip(_DRESS), known):
            return Line(speaker, how, _EMPHASIS.sub("", rest[0], count=1) if set(head) & set("*_") else rest[0])
    return _read_tag(line, known)


def _read_tag(line: str, known: Mapping[str, str]) -> Line | None:
    """ "[Anna] Hi." """
    tag = _TAGGED.match(line)
    speaker = tag and find_speaker(tag["square"] or tag["angle"] or tag["lens"], known)
    return Line(speaker, "", line[tag.end() :]) if tag and speaker else None


def almost_label(line: str, known: Mapping[str, str]) -> str | None:
    """What may or may not be a label: "Anna, whispering: Hi." is said by Anna or to her. None for another line.

    "Anna & Tom: Hi." is one, but no voice is that of both.
    """
    head, *rest = _COLON.split(line, maxsplit=1)
    name, *words = _CLAUSE.split(_BULLET.sub("", head, count=1), maxsplit=1)
    few = rest and words and len(words[0].split()) <= _FEW
    return f"{head.strip()}:" if few and find_speaker(name.strip(_DRESS), known) else None


def _without_asides(head: str) -> Iterator[tuple[str, str]]:
    """What may be the name, and what is said in parentheses behind it: first all of it, then one less at a time."""
    asides: list[str] = []
    while True:
        yield head, ", ".join(reversed(asides))
        if (aside := _ASIDE.search(head)) is None:
            return
        asides.append(aside["aside"].strip())
        head = head[: aside.start()]


def _without_time(line: str) -> str:
    """The line without the first time in it, if that stands at the beginning or right behind the first word or two."""
    time = _TIME.search(line)
    if time is None or _COLON.search(line, 0, time.start()):
        return line
    return f"{line[: time.start()].rstrip()}{line[time.end() :]}"


def warn_of_marks(texts: Collection[str], *, stacklevel: int) -> None:
    """Warn with TextWarning, once, naming marks that a single clip does not obey: pauses, SSML, labels of speakers."""
    marks = [match[0] for text in texts for match in find_marks(text)]
    if marks := marks + [label for text in texts for label in find_labels(text)]:
        warnings.warn(
            f"read out rather than obeyed in a single clip: {name_all(marks)}; use Bark.speak",
            TextWarning, stacklevel=stacklevel,
        )  # fmt: skip


def find_labels(text: str) -> Iterator[str]:
    """What looks like labels of speakers when no names are known: two names or more, or those set off by marks."""
    found = [match for match in _LABEL.finditer(text) if match["name"].casefold() not in _BARKS_OWN]
    several = len({match["name"].casefold() for match in found}) > 1
    for match in found:
        if several or match["dress"]:
            yield f"{match['name']}:"
