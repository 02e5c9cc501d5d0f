"""A run into a folder: chunks of rows of about the same length, each made once, whoever makes it and however often the
run was interrupted.

    FOLDER/run.json            what the run is of; another run into the folder is refused
    FOLDER/ID.flac …           or shard-00000.parquet …
    FOLDER/errors.jsonl        rows that could not be spoken
    FOLDER/warnings.jsonl      rows that were not spoken as they stand: what was dropped, ignored or replaced
    FOLDER/.chunks/00000.json  a chunk that is done, with its errors and warnings
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bark_jax.bulk import output
from bark_jax.bulk.rows import Bad, Row
from bark_jax.errors import FileError

FORMAT = "bark_jax bulk 1"
CHUNK = 64  # rows


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is of."""

    folder: Path
    format: str  # of output.FORMATS
    model: str
    rows: tuple[Row, ...]  # sorted by estimated length
    bad: tuple[Bad, ...]

    @property
    def chunks(self) -> list[tuple[int, tuple[Row, ...]]]:
        """Their numbers and rows: the longest first, so that workers end at about the same time."""
        starts = range(0, len(self.rows), CHUNK)
        return [(number, self.rows[start : start + CHUNK]) for number, start in enumerate(starts)]

    def facts(self) -> dict[str, str]:
        """What a run into the same folder must share."""
        rows = json.dumps([dataclasses.asdict(row) for row in self.rows], sort_keys=True)
        return {
            "run": FORMAT, "model": self.model, "format": self.format,
            "rows": hashlib.sha256(rows.encode(errors="surrogatepass")).hexdigest(),
        }  # fmt: skip


def make_plan(folder: Path, format: str, model: str, rows: Sequence[Row], bad: Sequence[Bad]) -> Plan:
    """Rows sorted so that those of a batch waste little on each other; ids decide between equals."""
    ordered = sorted(rows, key=lambda row: (-len(row.text), row.id))
    return Plan(folder=folder, format=format, model=model, rows=tuple(ordered), bad=tuple(bad))


def open_folder(plan: Plan) -> list[tuple[int, tuple[Row, ...]]]:
    """Make or continue the folder; the chunks that are missing. Raises FileError, also for another run's folder."""
    path, facts = plan.folder / "run.json", plan.facts()
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _compare(path, facts)
        elif any(plan.folder.iterdir()):
            raise FileError(f"{plan.folder} has files that are of no run: give an empty folder")
        else:
            output.write_json_lines(path, [facts])
        (plan.folder / ".chunks").mkdir(exist_ok=True)
        output.remove_partial(plan.folder)
        output.remove_partial(plan.folder / ".chunks")
    except OSError as error:
        raise FileError(f"cannot write into {plan.folder}: {error}") from error
    return [(number, rows) for number, rows in plan.chunks if not marker(plan.folder, number).exists()]


def _compare(path: Path, facts: dict[str, str]) -> None:
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name, value in facts.items() if there[name] != value]
    except (ValueError, LookupError, TypeError) as error:
        raise FileError(f"cannot read {path}: it is no description of a run") from error
    if differing:
        raise FileError(f"{path.parent} has a run of another {', '.join(differing)}: give another folder")


def marker(folder: Path, number: int) -> Path:
    """The file that says that a chunk is done."""
    return folder / ".chunks" / f"{number:05}.json"


Speak = Callable[[Sequence[Row]], Sequence[Any]]
Notes = Callable[[Row], Sequence[str]]


def make_chunk(folder: Path, format: str, number: int, rows: Sequence[Row], speak: Speak, notes: Notes) -> int:
    """Speak the rows of a chunk that have no file yet, and write them; the number of rows. Raises FileError.

    notes: what is warned of a row, whether it has a file already or not.
    """
    missing = [row for row in rows if not output.is_made(folder, format, row)]
    results = list(zip(missing, speak(missing), strict=True)) if missing else []
    reasons = {row.id: result for row, result in results if isinstance(result, str)}
    found: list[dict[str, Any]] = [{"id": name, "reason": reason} for name, reason in reasons.items()]
    found += [{"id": row.id, "warnings": own} for row in rows if row.id not in reasons and (own := list(notes(row)))]
    try:
        output.write(folder, format, number, [own for _, own in results if not isinstance(own, str)])
        output.write_json_lines(marker(folder, number), found)
    except OSError as error:
        raise FileError(f"cannot write into {folder}: {error}; start the same command again to continue") from error
    return len(rows)


def close_folder(plan: Plan) -> tuple[int, int]:
    """Write errors.jsonl, and warnings.jsonl if there are any; how many rows are in each. Raises FileError."""
    found = [entry for number, _ in plan.chunks for entry in _read_marker(marker(plan.folder, number))]
    errors = [dataclasses.asdict(bad) for bad in plan.bad] + [entry for entry in found if "reason" in entry]
    errors.sort(key=lambda error: (error.get("line") or 0, error["id"] or ""))
    warned = sorted((entry for entry in found if "warnings" in entry), key=lambda entry: entry["id"])
    try:
        output.write_json_lines(plan.folder / "errors.jsonl", errors)
        if warned:
            output.write_json_lines(plan.folder / "warnings.jsonl", warned)
    except OSError as error:
        raise FileError(f"cannot write into {plan.folder}: {error}") from error
    return len(errors), len(warned)


def _read_marker(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())
