"""What the commands tell people, on standard error."""

import sys
from typing import TextIO


def note(message: str) -> None:
    print(message, file=sys.stderr)


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """In place of `warnings.showwarning`: the message alone, without a line of source."""
    note(f"warning: {message}")
