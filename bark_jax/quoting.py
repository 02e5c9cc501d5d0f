"""What others made, in our messages: values of a caller, errors of a parser, misspelled names."""

import difflib
from collections.abc import Iterable

_LONGEST = 300  # characters


def quote(value: object) -> str:
    """The repr of any value, short. Never raises."""
    try:
        return shorten(repr(value))
    except Exception:  # an integer of more than 4300 digits, for one
        return f"some {type(value).__name__}"


def shorten(text: object) -> str:
    """The text, or that of an error, cut where it would drown the message it stands in."""
    text = str(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def count_of(number: int, thing: str) -> str:
    """ "1 piece", "2 pieces"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown word: "; did you mean …?" with the nearest names; empty if none is near."""
    near = difflib.get_close_matches(word.lower(), list(names))
    return f"; did you mean {' or '.join(near)}?" if near else ""
