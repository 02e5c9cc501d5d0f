"""The one exception of conversion."""

from collections.abc import Sequence

from bark_jax.checkpoint import CheckpointError

_LISTED = 20  # problems spelled out in one message


class ConversionError(CheckpointError):
    """A source that cannot be converted; the message names the files and values and says what to do."""


def refuse(heading: str, problems: Sequence[str]) -> None:
    """Raises a ConversionError with all problems, one a line; does nothing when there are none."""
    if not problems:
        return
    lines = list(problems[:_LISTED])
    if len(problems) > _LISTED:
        lines.append(f"… and {len(problems) - _LISTED} more")
    raise ConversionError(f"{heading}:\n  " + "\n  ".join(lines))
