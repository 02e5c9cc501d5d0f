"""Tables of recordings in the formats that people have: delimited text with or without a header, and JSON.

What a file is shows in its content, not in its name:

- JSON, one object a line (`metadata.jsonl`, NeMo's manifests) or one array of objects;
- Festival's `txt.done.data`, `( id "text" )` a line (CMU ARCTIC);
- delimited text with a header: commas, tabs (Common Voice), semicolons or bars;
- the same without a header, when its first column names recordings: `id|text|normalised text` (LJSpeech), with columns
  of labels such as `path|speaker|language|text`; also `id text` (LibriSpeech, Kaldi) and `id:text` (JSUT).
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bark_jax.quoting import quote, shorten
from bark_jax.training.shards import DataError

# Accepted names of columns, the preferred ones first; case does not matter, and blanks and hyphens are underscores.
FILES = (
    "file", "file_name", "filename", "path", "file_path", "filepath", "audio", "audio_file", "audio_path",
    "audio_filepath", "audio_filename", "wav", "wav_file", "wav_path", "wav_filename", "recording", "clip", "id",
    "utt_id", "utterance_id",
)  # fmt: skip
TEXTS = (
    "normalized_text", "normalised_text", "text_normalized", "normalized_transcription", "normalized_transcript",
    "normalized", "text", "transcription", "transcript", "sentence", "utterance", "raw_text", "raw_transcription",
    "original_text", "text_original", "caption", "label",
)  # fmt: skip
SPEAKERS = ("speaker", "speaker_id", "speaker_name", "spk", "spk_id", "client_id")

SURPLUS = "\0surplus"  # the column of cells that no column is named for
_DELIMITERS = (",", "\t", ";", "|")
_FESTIVAL = re.compile(r'\(\s*(?P<file>\S+)\s+"(?P<text>.*)"\s*\)')
_FIRST_ONLY = (" ", ":")  # what separates the name from the text where there is no delimiter
_LOOKED_AT = 1000  # lines of a table without a header
_FEW = 0.5  # different labels for lines, and letters of labels for those of texts, at most

Cells = list[str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """What stands in a table."""

    lines: Iterable[tuple[int, Any]]  # number → column → value, or None where a line cannot be read
    note: str | None = None  # how columns without names were read


def read_table(path: Path, is_recording: Callable[[str], bool]) -> Table:
    """Its lines, with normalised names of columns. Raises DataError for what is no table of recordings."""
    content = _read(path)
    start = content.lstrip()[:1]
    if start == "{":
        return Table(lines=_json_lines(content))
    if start == "[":
        return Table(lines=_json_array(path, content))
    if start == "(":
        return Table(lines=_festival_lines(content))
    if not start:
        raise DataError(f"nothing can be used: the table of transcripts {path} is empty")
    first = content.lstrip().splitlines()[0]
    headers = {delimiter: [_column(cell) for cell in _split(first, delimiter)] for delimiter in _DELIMITERS}
    for delimiter, header in headers.items():
        if set(header) & set(FILES) and set(header) & set(TEXTS):
            rows = islice(_rows(path, content, delimiter, len(header)), 1, None)
            return Table(lines=((number, _name(header, cells)) for number, cells in rows))
    return _without_header(path, content, headers, is_recording)


def pick(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    """What stands under the first of the names that has a value; None if none has."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the transcripts {path}: {error.strerror}") from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"  # the former is Excel's
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(f"the transcripts {path} are not UTF-8 text: save them as .csv in UTF-8 ({error})") from error


def _without_header(
    path: Path, content: str, headers: Mapping[str, Cells], is_recording: Callable[[str], bool]
) -> Table:
    """The first column names recordings, the others are recognised by their content."""
    first = {**headers, **{delimiter: [""] * 2 for delimiter in _FIRST_ONLY}}
    for delimiter in sorted(first, key="|\t;, :".index):
        if len(first[delimiter]) < 2:
            continue
        try:
            rows = list(_rows(path, content, delimiter, len(first[delimiter])))
        except DataError:  # then it is not the delimiter
            continue
        some = [cells for _, cells in rows[:_LOOKED_AT]]
        named = [is_recording(cells[0].strip()) for cells in some]
        if any(named) and (named[0] or not _is_header(some[0])):
            columns = _guess(some)
            note = (
                f"{path} has no header: its columns are read as {', '.join(name or '(not used)' for name in columns)}"
            )
            return Table(lines=((number, _name(columns, cells)) for number, cells in rows), note=note)
    found = max(headers.values(), key=len)
    raise DataError(
        f"{path} begins with {shorten(', '.join(map(quote, found)))}: these are not the names of columns that are "
        f"understood, nor names of recordings. A header needs a column for the recording ({', '.join(FILES)}) and one "
        f"for the text ({', '.join(TEXTS)}); a table without a header begins with names of recordings"
    )


def _is_header(cells: Cells) -> bool:
    """Whether they may well be names of columns: single words, all different."""
    return len(set(cells)) == len(cells) and all(cell.strip().isidentifier() for cell in cells)


def _guess(rows: Sequence[Cells]) -> Cells:
    """The names of columns, after that of the recording: the first texts, a speaker among the labels, "" for others."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    columns = list(zip(*(cells for cells in rows if len(cells) == width), strict=True))[1:]
    longest = max((_letters(column) for column in columns), default=0)
    different = [column for column in columns if columns.count(column) == 1]  # a text may be its own normal form
    labels = [index for index, column in enumerate(columns) if column in different and _are_labels(column, longest)]
    texts = [index for index in range(len(columns)) if index not in labels] or [0]
    names = [""] * len(columns)
    for name, index in zip(("text", "normalized_text"), texts, strict=False):
        names[index] = name
    speakers = (index for index in labels if not names[index] and not _are_fractions(columns[index]))
    if (speaker := next(speakers, None)) is not None:
        names[speaker] = "speaker"
    return ["file", *names]


def _are_labels(column: Sequence[str], longest: float) -> bool:
    """Single words that come again and again, are numbers, or are short beside the texts, `longest` letters a line."""
    return all(len(cell.split()) <= 1 for cell in column) and (
        len(set(column)) <= _FEW * len(column)
        or all(cell.strip().isdecimal() for cell in column)
        or _letters(column) <= _FEW * longest
    )


def _letters(column: Sequence[str]) -> float:
    """A line, in the mean."""
    return sum(map(len, column)) / len(column)


def _are_fractions(column: Sequence[str]) -> bool:
    """Numbers such as 3.5: the durations that some corpora give."""
    return all(re.fullmatch(r"\d+\.\d+", cell.strip()) for cell in column)


def _name(columns: Sequence[str], cells: Cells) -> dict[str, Any]:
    values: dict[str, Any] = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    return values | ({SURPLUS: cells[len(columns) :]} if len(cells) > len(columns) else {})


def _rows(path: Path, content: str, delimiter: str, width: int) -> Iterable[tuple[int, Cells]]:
    """Line numbers and cells. Raises DataError for quotes that do not match in comma and semicolon tables.

    Commas stand in texts, so there a quoted cell may even have several lines. In the tables with tabs and bars that
    LJSpeech and Common Voice have, a quotation mark is one of the text unless the line is well-formed CSV.
    """
    if delimiter in "\t| :":
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                cells = line.split(delimiter, 1) if delimiter in _FIRST_ONLY else _split(line, delimiter)
                yield number, cells if len(cells) == width else line.rstrip("\r").split(delimiter)
        return
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error


def _split(line: str, delimiter: str) -> Cells:
    """The cells of one line: as CSV, or where that fails with quotation marks as they stand."""
    line = line.rstrip("\r")
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return line.split(delimiter)


def _column(cell: str) -> str:
    return cell.strip().casefold().replace(" ", "_").replace("-", "_")


def _festival_lines(content: str) -> Iterable[tuple[int, Any]]:
    """Line numbers, and file and text there; None where a line has another form."""
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            found = _FESTIVAL.fullmatch(line.strip())
            yield number, found and {name: value.replace('\\"', '"') for name, value in found.groupdict().items()}


def _json_lines(content: str) -> Iterable[tuple[int, Any]]:
    """Line numbers, and the values there; None where they are not JSON."""
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield number, _normalise(json.loads(line))
            except (ValueError, RecursionError):
                yield number, None


def _json_array(path: Path, content: str) -> Iterable[tuple[int, Any]]:
    """Positions in an array, counted from 1, and the values there."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is neither JSON nor a table: {shorten(error)}") from error
    return [(number, _normalise(value)) for number, value in enumerate(values, start=1)]


def _normalise(value: Any) -> Any:
    return {_column(name): cell for name, cell in value.items()} if isinstance(value, dict) else value
