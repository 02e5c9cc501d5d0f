"""Tables of what is said in recordings: CSV with a header, or JSONL; `file`, `text` and, if known, `speaker`."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from bark_jax.quoting import quote
from bark_jax.training.shards import DataError


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What is said in a recording."""

    line: int  # of the table
    file: str  # relative to the folder of recordings, which it does not leave
    text: str
    speaker: str  # "" where there is none


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A recording, or a line of the table, that cannot be used."""

    step: str  # "audio" or "tokens"
    file: str  # "" where the table names none
    line: int | None  # of the table
    reason: str


def read_transcripts(path: Path) -> tuple[list[Transcript], list[LeftOut]]:
    """The lines of a table that can be used, in order, and the others. Other columns than ours are ignored.

    Raises DataError for a file that is no such table.
    """
    readers = {".csv": _csv_lines, ".jsonl": _json_lines}
    if path.suffix.lower() not in readers:
        raise DataError(f"the table of transcripts {path} must be a .csv or a .jsonl file")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the transcripts {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the transcripts {path} are not UTF-8 text: {error}") from error
    good, bad, seen = [], [], dict[str, int]()
    for number, values in readers[path.suffix.lower()](path, content):
        found = _transcript(number, values)
        if isinstance(found, Transcript) and found.file in seen:
            found = _left_out(number, found.file, f"the file stands in line {seen[found.file]} already")
        if isinstance(found, Transcript):
            seen[found.file] = number
            good.append(found)
        else:
            bad.append(found)
    return good, bad


def _csv_lines(path: Path, content: str) -> Iterator[tuple[int, Any]]:
    """Line numbers, and what stands under the header's names there."""
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        missing = {"file", "text"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"the first line of {path} lacks the columns {', '.join(sorted(missing))}")
        for values in reader:
            yield reader.line_num, values
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.reader.line_num}: {error}") from error


def _json_lines(path: Path, content: str) -> Iterator[tuple[int, Any]]:
    """Line numbers, and the values there; None where they are not JSON."""
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                yield number, None


def _transcript(line: int, values: Any) -> Transcript | LeftOut:
    if not isinstance(values, dict):
        return _left_out(line, "", "the line is not a JSON object")
    file, text, speaker = values.get("file"), values.get("text"), values.get("speaker")
    if not isinstance(file, str) or not file:
        return _left_out(line, "", f"the name of the file is {quote(file)}")
    path = PurePath(file)
    if path.anchor or ".." in path.parts:
        return _left_out(line, file, "the path leads out of the folder of recordings")
    file = path.as_posix()
    if None in values:  # csv puts surplus cells there
        return _left_out(line, file, "there are more cells than columns: a text with commas must be quoted")
    if text is None or not str(text).strip():
        return _left_out(line, file, "there is no transcript")
    if not isinstance(text, str) or not isinstance(speaker, str | int | None):
        return _left_out(line, file, "text and speaker must be strings")
    return Transcript(line=line, file=file, text=text, speaker="" if speaker is None else str(speaker))


def _left_out(line: int, file: str, reason: str) -> LeftOut:
    return LeftOut(step="audio", file=file, line=line, reason=reason)
