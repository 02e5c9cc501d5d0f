"""Tables of recordings in the formats that people have: delimited text with or without a header, and JSON.

What a file is shows in its content, not in its name:

- JSON, one object a line (`metadata.jsonl`, NeMo's manifests), one array of objects, by itself or in an object
  (`{"data": […]}`), or one object of id → text or id → object;
- Festival's `txt.done.data`, `( id "text" )` a line (CMU ARCTIC);
- delimited text with a header: commas, tabs (Common Voice), semicolons or bars;
- the same without a header, when a column names recordings: `id|text|normalised text` (LJSpeech), with columns of
  labels such as `path|speaker|language|text`; also `id text` (LibriSpeech, Kaldi) and `id:text` (JSUT).

Lines of comments, marked with #, may come before.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bark_jax.quoting import quote, shorten
from bark_jax.training.columns import FILES, TEXTS, Cells, column_name, guess_columns, texts_among
from bark_jax.training.shards import DataError

SURPLUS = "\0surplus"  # the column of cells that no column is named for
_DELIMITERS = (",", "\t", ";", "|")
_IN_TEXTS = ",;"  # delimiters that stand in texts too
_FESTIVAL = re.compile(r'\(\s*(?P<file>\S+)\s+"(?P<text>.*)"\s*\)')
_FIRST_ONLY = (" ", ":")  # what separates the name from the text where there is no delimiter
_LOOKED_AT = 1000  # lines of a table without a header


@dataclass(frozen=True, kw_only=True)
class Table:
    """What stands in a table."""

    lines: Iterable[tuple[int, Any]]  # number → column → value, or None where a line cannot be read
    note: str | None = None  # how columns without names were read


def read_table(path: Path, is_recording: Callable[[str], bool]) -> Table:
    """Its lines, with normalised names of columns. Raises DataError for what is no table of recordings."""
    content = _without_comments(_read(path), is_recording)
    start = content.lstrip()[:1]
    if start == "{":
        return Table(lines=_json_lines(content, is_recording))
    if start == "[":
        return Table(lines=_json_array(path, content))
    if start == "(":
        return Table(lines=_festival_lines(content))
    if not start:
        raise DataError(f"nothing can be used: the table of transcripts {path} is empty")
    headers = _headers(content.lstrip().splitlines()[0])
    if delimiter := _delimiter(headers):
        header = headers[delimiter]
        rows = islice(_rows(path, content, delimiter, len(header)), 1, None)
        return Table(lines=((number, _name(header, cells)) for number, cells in rows))
    return _without_header(path, content, headers, is_recording)


def pick(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    """What stands under the first of the names that has a value; None if none has."""
    return next((values[name] for name in names if values.get(name) not in (None, "")), None)


def _headers(line: str) -> dict[str, Cells]:
    """The names in a line by delimiter, if it is a header."""
    return {delimiter: [column_name(cell) for cell in _split(line, delimiter)] for delimiter in _DELIMITERS}


def _delimiter(headers: Mapping[str, Cells]) -> str | None:
    """That by which the line names a recording and a text."""
    return next((each for each, names in headers.items() if set(names) & set(FILES) and texts_among(names)), None)


def _without_comments(content: str, is_recording: Callable[[str], bool]) -> str:
    """With empty lines for those at the start that are marked with #; the mark of a header is taken off."""
    lines = content.split("\n")
    for number, line in enumerate(lines):
        bare = line.lstrip()
        if bare and (not bare.startswith("#") or any(is_recording(_split(bare, each)[0]) for each in _DELIMITERS)):
            break
        lines[number] = bare.lstrip("# \t") if _delimiter(_headers(bare.lstrip("# \t"))) else ""
        if lines[number]:
            break
    return "\n".join(lines)


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
    """A column, mostly the first, names recordings, the others are recognised by their content."""
    first = {**headers, **{delimiter: [""] * 2 for delimiter in _FIRST_ONLY}}
    for delimiter in sorted(first, key="|\t;, :".index):
        if len(first[delimiter]) < 2:
            continue
        try:
            rows = list(_rows(path, content, delimiter, len(first[delimiter])))
        except DataError:  # then it is not the delimiter
            continue
        some = [cells for _, cells in rows[:_LOOKED_AT]]
        if (recording := _recordings(some, is_recording)) is not None:
            if delimiter in _IN_TEXTS and any(len(cells) > 2 for _, cells in rows):
                rows = _with_whole_texts(path, content, delimiter, recording)
            columns = guess_columns([cells for _, cells in rows[:_LOOKED_AT]], recording)
            note = (
                f"{path} has no header: its columns are read as {', '.join(name or '(not used)' for name in columns)}"
            )
            return Table(lines=((number, _name(columns, cells)) for number, cells in rows), note=note)
    found = max(headers.values(), key=len)
    raise DataError(
        f"{path} begins with {shorten(', '.join(map(quote, found)))}: these are not the names of columns that are "
        f"understood, nor names of recordings. A header needs a column for the recording ({', '.join(FILES)}) and one "
        f"for the text (normalized_text, {', '.join(TEXTS)}); a table without a header begins with names of recordings"
    )


def _recordings(rows: Sequence[Cells], is_recording: Callable[[str], bool]) -> int | None:
    """The number of the column that names recordings: the first one, or one where most lines name one."""
    for column in range(len(rows[0])):
        named = [len(cells) > column and is_recording(cells[column].strip()) for cells in rows]
        enough = any(named) if column == 0 else sum(named) > len(named) / 2
        if enough and (named[0] or not _is_header(rows[0])):
            return column
    return None


def _with_whole_texts(path: Path, content: str, delimiter: str, recording: int) -> list[tuple[int, Cells]]:
    """The rows: of name and text alone, where all further delimiters are in texts, which a blank after each shows.

    Raises DataError where neither blanks nor the number of cells show what the delimiters separate.
    """
    rows = list(_rows(path, content, delimiter, 0, blanks=True))
    begin = [[cell[:1] == " " for cell in cells[1:]] for _, cells in rows]
    if len(set(map(len, begin))) == 1 and not any(any(blank[1:]) for blank in begin):
        return rows
    if recording == 0 and all(all(blank[1:]) for blank in begin) and not all(all(blank[:1]) for blank in begin):
        return [(number, [cells[0], delimiter.join(cells[1:])]) for number, cells in rows]
    raise DataError(
        f"{path} has no header, and {quote(delimiter)} may stand in its texts or between its columns: "
        "quote the texts, separate the columns by | or tabs, or add a header"
    )


def _is_header(cells: Cells) -> bool:
    """Whether they may well be names of columns: single words, all different."""
    return len(set(cells)) == len(cells) and all(cell.strip().isidentifier() for cell in cells)


def _name(columns: Sequence[str], cells: Cells) -> dict[str, Any]:
    values: dict[str, Any] = {name: cell.strip() for name, cell in zip(columns, cells, strict=False)}
    return values | ({SURPLUS: cells[len(columns) :]} if len(cells) > len(columns) else {})


def _rows(path: Path, content: str, delimiter: str, width: int, *, blanks: bool = False) -> Iterable[tuple[int, Cells]]:
    """Line numbers and cells. Raises DataError for quotes that do not match in comma and semicolon tables.

    Commas stand in texts, so there a quoted cell may even have several lines. In the tables with tabs and bars that
    LJSpeech and Common Voice have, a quotation mark is one of the text unless the line is well-formed CSV. blanks: keep
    those after commas and semicolons.
    """
    if delimiter in "\t| :":
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                cells = line.split(delimiter, 1) if delimiter in _FIRST_ONLY else _split(line, delimiter)
                yield number, cells if len(cells) == width else line.rstrip("\r").split(delimiter)
        return
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True, skipinitialspace=not blanks)
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


def _festival_lines(content: str) -> Iterable[tuple[int, Any]]:
    """Line numbers, and file and text there; None where a line has another form."""
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            found = _FESTIVAL.fullmatch(line.strip())
            yield number, found and {name: value.replace('\\"', '"') for name, value in found.groupdict().items()}


def _json_lines(content: str, is_recording: Callable[[str], bool]) -> Iterable[tuple[int, Any]]:
    """Line numbers, and the values there; None where they are not JSON. One object may hold all lines."""
    try:
        return enumerate(map(_normalise, _in_object(json.loads(content), is_recording)), start=1)
    except (ValueError, RecursionError):
        lines = enumerate(content.split("\n"), start=1)
        return ((number, _json_line(line)) for number, line in lines if line.strip())


def _json_line(line: str) -> Any:
    try:
        return _normalise(json.loads(line))
    except (ValueError, RecursionError):
        return None


def _in_object(values: dict[str, Any], is_recording: Callable[[str], bool]) -> Iterable[Any]:
    """The lines in an object: itself, the one list in it, or what it says of the recordings that its keys name."""
    names = [column_name(name) for name in values]
    if set(names) & set(FILES) and texts_among(names):
        return [values]
    lists = [value for value in values.values() if isinstance(value, list)]
    if len(lists) == 1 and all(isinstance(line, dict) for line in lists[0]):
        return lists[0]
    if any(map(is_recording, values)) and not any(isinstance(value, list) for value in values.values()):
        return [{"file": name} | (said if isinstance(said, dict) else {"text": said}) for name, said in values.items()]
    return [values]


def _json_array(path: Path, content: str) -> Iterable[tuple[int, Any]]:
    """Positions in an array, counted from 1, and the values there."""
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is neither JSON nor a table: {shorten(error)}") from error
    return [(number, _normalise(value)) for number, value in enumerate(values, start=1)]


def _normalise(value: Any) -> Any:
    return {column_name(name): cell for name, cell in value.items()} if isinstance(value, dict) else value
