"""A caller's values in messages."""

_LONGEST = 200  # characters


def quote(value: object) -> str:
    """The repr of any value, cut where it would drown the message it stands in. Never raises."""
    try:
        text = repr(value)
    except Exception:  # an integer of more than 4300 digits, for one
        return f"some {type(value).__name__}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
