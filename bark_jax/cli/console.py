"""What the commands say: results on standard output, everything else on standard error."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO


def note(message: str) -> None:
    """A line for people, on standard error."""
    print(message, file=sys.stderr)


def drop_output() -> None:
    """Nobody reads standard output any more: what Python flushes at its end goes nowhere, without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(value: Any) -> None:
    """A result for programs. Raises ValueError for numbers that JSON lacks."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of cells in columns as wide as they need."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True)


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """In place of `warnings.showwarning`: the message alone, without a line of source."""
    note(f"warning: {message}")
