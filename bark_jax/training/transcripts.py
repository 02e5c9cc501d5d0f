"""Tables of what is said in recordings, as corpora have them: see `tables.py` for the formats."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from bark_jax.quoting import quote
from bark_jax.training.columns import FILES, SPEAKERS, texts_among
from bark_jax.training.shards import DataError
from bark_jax.training.tables import SURPLUS, pick, read_table

SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".au", ".mp3", ".ogg", ".opus", ".w64")  # of recordings, the best first
NO_RECORDING = "there is no such recording"


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


class Recordings:
    """The recordings in a folder and the folders in it, found by the names that tables use."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"there is no folder of recordings {folder}")
        self.folder = folder
        paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")))
        self.names = [path.as_posix() for path in paths if path.suffix.lower() in SUFFIXES]
        self._by_stem: dict[str, list[PurePath]] = defaultdict(list)
        for name in self.names:
            self._by_stem[PurePath(name).stem.casefold()].append(PurePath(name))

    def find(self, name: str) -> str:
        """The file that a table calls `name`, relative to the folder.

        That is the path itself; else the one recording whose path ends like it, where either may lack its suffix or
        have another: `LJ001-0001` is `wavs/LJ001-0001.wav`. Letter case counts only where two recordings differ in it.
        A path may be absolute, or begin with the folder's own name, as long as it stays in the folder; of one
        elsewhere, as on the machine that the table was made on, the longest end counts that names a recording. Raises
        DataError.
        """
        path = self._inside(name)
        if path.anchor or (path.parts[:1] and path.parts[0].endswith(":")):  # of Windows
            ends = (self._ending(PurePath(*path.parts[count:])) for count in range(1, len(path.parts)))
            return self._best(path, next(filter(None, ends), []))
        try:
            if (self.folder / path).is_file():
                return path.as_posix()
        except (OSError, ValueError):  # no file can have this name
            return path.as_posix()
        return self._best(path, [other for wanted in self._readings(path) for other in self._ending(wanted)])

    def _best(self, path: PurePath, found: list[PurePath]) -> str:
        """The one of these recordings that differ in their suffixes alone, with the path's own if possible."""
        if not found:
            raise DataError(NO_RECORDING)
        if len({other.with_suffix("") for other in found}) > 1:
            raise DataError(f"it may be {found[0]} or {found[1]}")
        return min(found, key=lambda other: (other.name != path.name, SUFFIXES.index(other.suffix.lower()))).as_posix()

    def _inside(self, name: str) -> PurePath:
        path = PurePath(name.replace("\\", "/"))
        if path.is_absolute() and path.is_relative_to(self.folder.absolute()):
            path = path.relative_to(self.folder.absolute())
        if ".." in path.parts:
            raise DataError("the path leads out of the folder of recordings")
        return path

    def _readings(self, path: PurePath) -> Iterable[PurePath]:
        """The path, and its end where it begins with the last folders of our own."""
        own = self.folder.absolute().parts
        yield path
        yield from (
            PurePath(*path.parts[count:]) for count in range(1, len(path.parts)) if own[-count:] == path.parts[:count]
        )

    def _ending(self, wanted: PurePath) -> list[PurePath]:
        """The recordings whose path ends so, apart from suffixes; if there is none, apart from letter case too."""
        stems = {wanted.name} | ({wanted.stem} if wanted.suffix.lower() in SUFFIXES else set())
        candidates = [
            path for stem in sorted({stem.casefold() for stem in stems}) for path in self._by_stem.get(stem, ())
        ]
        exact = [path for path in candidates if path.stem in stems and _is_below(path, wanted.parts[:-1])]
        folded = tuple(part.casefold() for part in wanted.parts[:-1])
        return exact or [path for path in candidates if _is_below(PurePath(str(path).casefold()), folded)]


def _is_below(path: PurePath, folders: tuple[str, ...]) -> bool:
    """Whether the last folders of the path are these."""
    return not folders or path.parts[:-1][-len(folders) :] == folders


def read_transcripts(path: Path, recordings: Recordings) -> tuple[list[Transcript], list[LeftOut], str | None]:
    """The lines of a table that can be used, in order; the others; and how its columns were read, if that was a guess.

    Raises DataError for a file that is no such table.
    """
    table = read_table(path, lambda name: _exists(recordings, name))
    good, bad, seen = [], [], dict[str, int]()
    for number, values in table.lines:
        found = _transcript(number, values, recordings)
        if isinstance(found, Transcript) and found.file in seen:
            found = _left_out(number, found.file, f"the file stands in line {seen[found.file]} already")
        if isinstance(found, Transcript):
            seen[found.file] = number
            good.append(found)
        else:
            bad.append(found)
    return good, bad, table.note


def _exists(recordings: Recordings, name: str) -> bool:
    try:
        return (recordings.folder / recordings.find(name)).is_file()
    except (DataError, OSError, ValueError):
        return False


def _transcript(line: int, values: Any, recordings: Recordings) -> Transcript | LeftOut:
    if not isinstance(values, Mapping):
        return _left_out(line, "", "the line is not of the table's format")
    file, text, speaker = pick(values, FILES), pick(values, texts_among(values)), pick(values, SPEAKERS)
    if isinstance(file, Mapping):  # as the library datasets writes audio
        file = file.get("path")
    if file is None:
        return _left_out(line, "", "the line names no recording")
    if not isinstance(file, str | int):
        return _left_out(line, "", f"the name of the recording is {quote(file)}")
    file = str(file)
    try:
        file = recordings.find(file)
    except DataError as error:
        return _left_out(line, file, str(error))
    if SURPLUS in values:
        return _left_out(line, file, "there are more cells than columns: a text with the delimiter must be quoted")
    if text is None or not str(text).strip():
        return _left_out(line, file, "there is no transcript")
    if not isinstance(text, str) or not isinstance(speaker, str | int | None):
        return _left_out(line, file, "text and speaker must be strings")
    return Transcript(line=line, file=file, text=text, speaker="" if speaker is None else str(speaker))


def _left_out(line: int, file: str, reason: str) -> LeftOut:
    return LeftOut(step="audio", file=file, line=line, reason=reason)
