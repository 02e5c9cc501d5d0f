"""What others made, in our messages: values of a caller, errors of a parser."""

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
