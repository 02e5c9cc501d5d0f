"""A list of texts (JSON lines, CSV, Parquet) → rows to be spoken, and rows that cannot be, each with its reason."""

import csv
import dataclasses
import hashlib
import importlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bark_jax.errors import FileError
from bark_jax.quoting import did_you_mean, quote, shorten
from bark_jax.settings import Settings
from bark_jax.voices.names import is_name

SETTINGS = tuple(own.name for own in dataclasses.fields(Settings))
DELIVERY = ("language", "keep_voice", "best_of", "clean")
FIELDS = ("id", "text", "voice", "voices", "seed", *SETTINGS, *DELIVERY)
_MAX_ID = 200  # characters
_MAX_TEXT = 1_000_000  # characters

Entry = tuple[int, Mapping[str, Any] | str]  # where it stands, from 1; what it holds, or what is wrong with it


@dataclass(frozen=True, kw_only=True)
class Row:
    """A text that is to be spoken."""

    id: str
    text: str
    voice: str | None = None
    voices: Mapping[str, str | None] = field(default_factory=dict)
    seed: int
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of `Settings` and `Delivery`


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A row that cannot be spoken."""

    id: str | None
    line: int  # of the list, from 1; in Parquet and CSV the row
    reason: str


def read_rows(path: str, data: bytes) -> tuple[list[Row], list[Bad]]:
    """All rows of a list. path: whose suffix says what the data are; JSON lines for "-". Raises FileError."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl, "": _read_jsonl}
    suffix = "" if path == "-" else Path(path).suffix.lower()
    if suffix not in readers:
        raise FileError(f"cannot read {path}: its name must end in .jsonl, .csv or .parquet")
    rows: dict[str, Row] = {}
    bad: list[Bad] = []
    lines: dict[str, int] = {}
    for line, entry in readers[suffix](path, data):
        row = Bad(id=None, line=line, reason=entry) if isinstance(entry, str) else read_row(line, entry)
        if isinstance(row, Row) and row.id in rows:
            row = Bad(id=row.id, line=line, reason=f"row {lines[row.id]} has the same id")
        if isinstance(row, Bad):
            bad.append(row)
        else:
            rows[row.id], lines[row.id] = row, line
    return list(rows.values()), bad


def read_row(line: int, entry: Mapping[str, Any]) -> Row | Bad:
    """One row, checked as far as that is possible without a model."""
    given = {str(name): value for name, value in entry.items() if value is not None}
    name = given.get("id")
    name = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
    reason = _problem(given, name)
    if reason is not None or not isinstance(name, str):
        return Bad(id=name if isinstance(name, str) else None, line=line, reason=reason or "it has no id")
    overrides = {key: given[key] for key in (*SETTINGS, *DELIVERY) if key in given}
    return Row(
        id=name, text=given["text"], voice=given.get("voice"), voices=given.get("voices", {}),
        seed=given.get("seed", seed_of(name)), overrides=overrides,
    )  # fmt: skip


def _problem(given: Mapping[str, Any], name: Any) -> str | None:
    if unknown := [key for key in given if key not in FIELDS]:
        return f"there is no field {quote(unknown[0])}{did_you_mean(unknown[0], FIELDS)}"
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_ID:
        return f"its id must be a string of 1 … {_MAX_ID} characters, not {quote(name)}"
    if not is_name(name) or "/" in name:
        return f"its id {quote(name)} cannot be the name of a file"
    text = given.get("text")
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_TEXT:
        return f"its text must be a string of 1 … {_MAX_TEXT} characters, not {quote(text)}"
    if not isinstance(given.get("voice", ""), str) or not isinstance(given.get("voices", {}), Mapping):
        return "voice must be a name, and voices an object of speakers and their voices"
    return None


def seed_of(name: str) -> int:
    """The seed of a row that has none: the same for the same id."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def _read_jsonl(path: str, data: bytes) -> Iterator[Entry]:
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"it is not JSON: {shorten(error)}"
            continue
        yield number, entry if isinstance(entry, dict) else "it is not a JSON object"


def _read_csv(path: str, data: bytes) -> Iterator[Entry]:
    """Cells of text stay as they are, others are read as JSON: numbers, true and false. Empty cells are left out."""
    try:
        table = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"cannot read {path}: {shorten(error)}") from error
    for number, cells in enumerate(table, 1):
        if None in cells or None in cells.values():
            yield number, "it has another number of cells than the head of the table"
        else:
            yield number, {name: _cell(name, value) for name, value in cells.items() if value != ""}


def _cell(name: str, value: str) -> Any:
    if name in ("id", "text", "voice", "language", "keep_voice"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _read_parquet(path: str, data: bytes) -> Iterable[Entry]:
    parquet = load_parquet()
    try:
        table = parquet.read_table(io.BytesIO(data))
    except Exception as error:  # Arrow's own kinds, of which some are OSError and some ValueError
        raise FileError(f"cannot read {path}: {shorten(error)}") from error
    return enumerate(table.to_pylist(), 1)


def load_parquet() -> Any:
    """`pyarrow.parquet`. Raises FileError."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise FileError("Parquet needs pyarrow: pip install 'bark-jax[bulk]'") from error
