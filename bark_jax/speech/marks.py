"""Marks in a text that are obeyed instead of spoken: pauses, and the tags of SSML.

- A pause is `[pause]`, `[pause 2]`, `[pause: 1.5]` or `[pause=500ms]`, with a unit or without (seconds), in any letter
  case, or SSML's `<break time="500ms"/>`.
- `<voice name="…">…</voice>` switches to that voice, and `<p>` is a paragraph.
- Other tags that SSML has, those of an engine (`<amazon:effect>`), and within `<speak>` all others are removed;
  entities (`&amp;`) are then decoded.

All else in brackets is text: `[laughs]`, `[paused at 3:10]`, `a < b`.
"""

import html
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from bark_jax.text import TextError, TextWarning, name_all

MAX_PAUSE = 60  # seconds, of one mark

_TIME = r"(?P<number>\d+(?:[.,]\d*)?|[.,]\d+)\s*(?P<unit>milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?)?"
_PAUSE = re.compile(rf"\[\s*pause(?:(?:\s*[:=]\s*|\s+){_TIME})?\s*\]", re.IGNORECASE)
_BREAK_TIME = re.compile(rf"\s*\+?{_TIME}\s*", re.IGNORECASE)
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.5, "strong": 1.0, "x-strong": 1.5}  # seconds

_TAG = re.compile(r"<(?P<close>/?)(?P<name>[A-Za-z][\w:.-]*)(?P<attributes>(?:\s[^<>]*)?)/?>")
_AROUND = re.compile(r"<\?xml\b[^<>]*\?>|<!--.*?-->|<!DOCTYPE\b[^<>]*>", re.IGNORECASE | re.DOTALL)
_ATTRIBUTE = re.compile(r"""([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>/]+))""")
_SSML = (
    *("speak", "break", "voice", "p", "s", "w", "paragraph", "sentence", "token", "lang", "desc", "meta", "metadata"),
    *("emphasis", "prosody", "say-as", "phoneme", "sub", "audio", "mark", "lexicon", "lookup", "lexeme", "par", "seq"),
    "media",
)
_INSTEAD = {"speak": "", "p": "\n\n", "paragraph": "\n\n", "s": " ", "sentence": " "}  # of the tag


@dataclass(frozen=True)
class Pause:
    """Silence where the mark stands."""

    seconds: float | None  # None: as long as a mark without a number is


@dataclass(frozen=True)
class VoiceTag:
    """From here on a voice speaks."""

    name: str | None  # None: no `<voice>` is open


Mark: TypeAlias = Pause | VoiceTag


def find_marks(text: str) -> list[re.Match[str]]:
    """Where the marks are; where there is a `<speak>`, tags of all names are marks."""
    tags = list(_TAG.finditer(text))
    if not any(_name(match) == "speak" for match in tags):
        tags = [match for match in tags if _name(match) in _SSML or ":" in _name(match)]  # <amazon:effect>
    around = list(_AROUND.finditer(text)) if tags else []
    found: list[re.Match[str]] = []
    for match in sorted([*tags, *around, *_PAUSE.finditer(text)], key=re.Match.start):
        if not found or match.start() >= found[-1].end():
            found.append(match)
    return found


def check_marks(text: str) -> None:
    """Raises TextError for a pause of more than a minute."""
    voices: list[str | None] = [None]
    for match in find_marks(text):
        _meaning(match, voices)


def without_marks(text: str) -> str:
    """The text without its marks."""
    for match in reversed(find_marks(text)):
        text = text[: match.start()] + text[match.end() :]
    return text


def check_spoken(text: str) -> None:
    """Raise TextError for a text with nothing but marks."""
    if not without_marks(text).strip():
        raise TextError(f"nothing in the text can be spoken: {text[:200]!a}")


def read_marks(text: str) -> Iterator[str | Mark]:
    """Texts and what stands between them, in order. Warns with TextWarning, once, naming the tags that are ignored.

    Raises TextError for a pause of more than a minute.
    """
    found = find_marks(text)
    decode = html.unescape if any(match.re is _TAG for match in found) else str
    voices: list[str | None] = [None]  # of the elements around, the innermost last
    ignored: list[str] = []
    start, said = 0, ""
    for match in found:
        said += decode(text[start : match.start()])
        start = match.end()
        meaning = _meaning(match, voices)
        if meaning is None:
            ignored.append(_name(match))
        elif isinstance(meaning, str):
            said += meaning
        else:
            yield said
            yield meaning
            said = ""
    yield said + decode(text[start:])
    if ignored:
        warnings.warn(f"SSML tags that are ignored: {name_all(ignored)}", TextWarning, stacklevel=2)


def _meaning(match: re.Match[str], voices: list[str | None]) -> str | Mark | None:
    """What stands in place of the match, if only ""; None for a tag that is ignored."""
    if match.re is _PAUSE:
        return _pause(match, match[0])
    if match.re is _AROUND:
        return ""
    name, closes = _name(match), bool(match["close"])
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name == "voice":
        return _voice(_attributes(match).get("name", "").strip(), closes, voices)
    if closes:
        return ""
    return _break(_attributes(match), match[0]) if name == "break" else None


def _name(match: re.Match[str]) -> str:
    return str(match["name"]).lower()


def _attributes(match: re.Match[str]) -> dict[str, str]:
    return {name.lower(): html.unescape("".join(value)) for name, *value in _ATTRIBUTE.findall(match["attributes"])}


def _voice(name: str, closes: bool, voices: list[str | None]) -> str | Mark | None:
    if not closes:
        voices.append(name or voices[-1])
        return VoiceTag(name) if name else None
    if len(voices) == 1:
        return ""
    voices.pop()
    return VoiceTag(voices[-1])


def _break(attributes: dict[str, str], tag: str) -> Pause | None:
    """None if its time is none."""
    if "time" not in attributes:
        return Pause(_STRENGTHS.get(attributes.get("strength", "").lower()))
    time = _BREAK_TIME.fullmatch(attributes["time"])
    return time and _pause(time, tag)


def _pause(match: re.Match[str], mark: str) -> Pause:
    if match["number"] is None:
        return Pause(None)
    unit = (match["unit"] or "s").lower()
    scale = 0.001 if unit.startswith(("ms", "milli")) else 60 if unit.startswith("min") else 1
    seconds = scale * float(match["number"].replace(",", "."))
    if seconds > MAX_PAUSE:
        raise TextError(f"the pause {mark[:40]!r} is too long: at most {MAX_PAUSE} s")
    return Pause(seconds)
