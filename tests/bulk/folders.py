"""Lists of texts, and what is in the folders that are made of them."""

import hashlib
import json
from pathlib import Path
from typing import Any


def lines(rows: list[Any]) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def entries(count: int) -> list[Any]:
    """Short texts, and two rows that cannot be spoken."""
    own = {"max_seconds": 0.1}
    rows = [{"id": f"row{n}", "text": "It is nine. " * (n % 2 + 1), "seed": n, **own} for n in range(count)]
    return [*rows, "{", {"id": "bad", "text": "One.", "voice": "nobody"}]


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip
