"""Voices by name: those that came with a model, and the library, a folder of `.npz` files that the user owns."""

import contextlib
import dataclasses
import difflib
import functools
import os
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from platformdirs import user_data_path

from bark_jax.arrays import open_plain
from bark_jax.config import BarkConfig
from bark_jax.files import check_writable
from bark_jax.quoting import quote
from bark_jax.voices.errors import VoiceAdjusted, VoiceError
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.names import DEFAULT_FILE, NO_VOICE, VOICE_NAMES, check_name, named_language, spellings
from bark_jax.voices.reading import find_file, is_voice_file, read_metadata
from bark_jax.voices.voice import MakeFine, Voice

NANO_VOICES = Path(__file__).resolve().parents[1] / "nano" / "voices"  # of the built-in model
PUBLISHED_MODELS = ("suno/bark-small", "suno/bark")  # with the voices of `VOICE_NAMES`
_MAX_DEFAULT = 1000  # bytes

Source: TypeAlias = Literal["model", "library", "nano", "published", "file"]


@dataclass(frozen=True, kw_only=True)
class VoiceEntry:
    """A name and what it stands for."""

    name: str
    source: Source
    metadata: VoiceMetadata
    path: Path | None = None  # None: published by Suno, but not here
    problem: str | None = None  # why the file cannot be read


def library_folder() -> Path:
    """The library's folder, in the user's data folder. It need not be there."""
    return user_data_path("bark-jax", appauthor=False) / "voices"


def list_voices(folder: Path) -> list[str]:
    """Sorted names of the voices in a folder, such as `v2/en_speaker_6`. Links that lead out of it are skipped."""
    root = folder.resolve()
    if root.parent.parent.name == "snapshots":  # in the hub's cache files are links to blobs of the same repository
        root = root.parents[2]
    files = (path for path in folder.rglob("*.npz") if path.is_file() and path.resolve().is_relative_to(root))
    visible = (path.relative_to(folder) for path in files if not path.name.startswith("."))  # no half-written ones
    return sorted(path.with_suffix("").as_posix() for path in visible)


@functools.lru_cache(maxsize=32)
def _scan(folder: Path) -> tuple[str, ...]:
    """`list_voices`, once per process: whoever changes a folder clears this."""
    return tuple(list_voices(folder))


def catalogue(
    folder: Path | None = None, library: Path | None = None, *, published: bool = True, builtin: bool = False
) -> list[VoiceEntry]:
    """All names with what they stand for: a model's folder of voices, the library, then the other published names.

    A name stands for one voice: the model's own if it has one of that name, else the library's. builtin: list those of
    the built-in model too.
    """
    _scan.cache_clear()
    entries: dict[str, VoiceEntry] = {}
    for source, place in _places(folder, library, builtin).items():
        for name in _scan(place):
            entries.setdefault(name, _entry(name, source, place / f"{name}.npz"))
    for name in VOICE_NAMES if published else ():
        entries.setdefault(name, VoiceEntry(name=name, source="published", metadata=_named(name, VoiceMetadata())))
    return list(entries.values())


def _places(folder: Path | None, library: Path | None, builtin: bool) -> dict[Source, Path]:
    """Where names are looked for, in this order."""
    places: dict[Source, Path | None] = {
        "model": folder, "library": library or library_folder(), "nano": NANO_VOICES if builtin else None
    }  # fmt: skip
    return {source: place for source, place in places.items() if place is not None}


def _entry(name: str, source: Source, path: Path) -> VoiceEntry:
    try:
        return VoiceEntry(name=name, source=source, path=path, metadata=_named(name, read_metadata(path)))
    except VoiceError as error:
        return VoiceEntry(name=name, source=source, path=path, metadata=VoiceMetadata(), problem=str(error))


def _named(name: str, metadata: VoiceMetadata) -> VoiceMetadata:
    """The metadata with the language in a published name, if there is no other."""
    return dataclasses.replace(metadata, language=metadata.language or named_language(name))


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where the voice is that a name or path means."""

    name: str  # as it is spelled there
    source: Source
    path: Path  # for `Voice.load`

    def load(self, *args: Any, **options: Any) -> Voice:
        """As `Voice.load`, under this name, with the language that the name says."""
        voice = Voice.load(self.path, *args, **options)
        return dataclasses.replace(voice, name=self.name, metadata=_named(self.name, voice.metadata))


def locate(spec: str, folder: Path | None = None, library: Path | None = None, *, builtin: bool = False) -> Located:
    """What a name means, in a model's folder or else in the library, or a path.

    A name as it is spelled goes first, then a file (see `reading.find_file`), then a name in another spelling (see
    `names.fold`). builtin: look among the built-in model's voices last. Raises VoiceError, with near names for an
    unknown one; warns with VoiceAdjusted where the library has another voice of the same name as the model.
    """
    places = _places(folder, library, builtin)
    for source, place in places.items():
        if spec in _scan(place) and (path := place / f"{spec}.npz").is_file():
            _warn_if_hidden(spec, source, places)
            return Located(name=spec, source=source, path=path)
    if (file := find_file(spec)) is not None:
        return Located(name=spec, source="file", path=file)
    _scan.cache_clear()  # another process may have saved it
    for source, place in places.items():
        alike = spellings(spec, _scan(place))
        if len(alike) > 1:
            raise VoiceError(f"{quote(spec)} may be {' or '.join(alike)}: give the name as it is spelled")
        if alike:
            _warn_if_hidden(alike[0], source, places)
            return Located(name=alike[0], source=source, path=place / f"{alike[0]}.npz")
    if problem := _elsewhere(spec):
        raise VoiceError(problem)
    if is_voice_file(spec) or os.path.lexists(spec):  # for the reader to say what is wrong with it
        return Located(name=spec, source="file", path=Path(spec))
    raise VoiceError(_unknown(spec, [name for place in places.values() for name in _scan(place)]))


def _warn_if_hidden(name: str, source: Source, places: Mapping[Source, Path]) -> None:
    """Of a voice in the library, saved without a model's name, that a model's own voice now replaces."""
    if source == "model" and name in _scan(places["library"]):
        path = places["library"] / f"{name}.npz"
        message = f"{name} is the model's own voice, not that of your library: to use that one, give its path, {path}"
        warnings.warn(message, VoiceAdjusted, stacklevel=3)


def _elsewhere(spec: str) -> str | None:
    """Where the voice is to be had whose name is known, but which is not here."""
    if published := spellings(spec, VOICE_NAMES):
        name = published[0]
        return f"the published voice {name} is not here: use a model that brings it, or give the path of its .npz file"
    if own := spellings(spec, _scan(NANO_VOICES)):
        return f"{own[0]} is a voice of the built-in model only: use it with --model nano"
    return None


def _unknown(spec: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(spec.lower(), names) or difflib.get_close_matches(spec.lower(), VOICE_NAMES)
    advice = f"did you mean {' or '.join(near)}?" if near else "give a name from `bark-jax voices` or an .npz file"
    return f"there is no voice {quote(spec)}: {advice}"


def find_voice(
    spec: str, folder: Path | None, config: BarkConfig, library: Path | None = None, **options: Any
) -> Voice | None:
    """The voice of a name or path (see `locate`), checked against the model; None for `names.NO_VOICE`.

    options: of `Voice.from_arrays`. Raises VoiceError; warns with VoiceAdjusted.
    """
    return None if spec.lower() == NO_VOICE else locate(spec, folder, library).load(config, **options)


def choose_voice(
    source: Any, config: BarkConfig, folder: Path | None, make_fine: MakeFine | None = None
) -> Voice | None:
    """The voice that a caller means by a Voice, a mapping of arrays, a name, a path, or None for the model's default.

    Raises VoiceError; warns with VoiceAdjusted.
    """
    match source:
        case None:
            return default_voice(folder, config)
        case Voice():
            return source.fitted(config)
        case Mapping():
            return Voice.from_arrays(source, config, make_fine=make_fine)
        case str() | Path():
            return find_voice(str(source), folder, config, make_fine=make_fine)
    raise VoiceError(f"a voice is a name, a path, a Voice, a Generation or a dict, not {type(source).__name__}")


def default_voice(folder: Path | None, config: BarkConfig) -> Voice | None:
    """The voice that a model speaks with when none is asked for; None if it names none. Raises VoiceError."""
    if folder is None or (name := default_name(folder)) is None:
        return None
    return Located(name=name, source="model", path=folder / f"{name}.npz").load(config)


def default_name(folder: Path) -> str | None:
    """The name in the file `default.txt` of a model's voices, if there is one.

    Raises VoiceError if it is not that of a voice in the folder.
    """
    file = folder / DEFAULT_FILE
    if not file.is_file():
        return None
    try:
        with open_plain(file, _MAX_DEFAULT) as stream:
            name = stream.read().decode().strip()
    except (OSError, ValueError) as error:
        raise VoiceError(f"cannot read the name of the model's default voice, {file}: {error}") from error
    if name not in _scan(folder):
        raise VoiceError(f"{file} names {quote(name)}, which is no voice of the model: correct or delete that file")
    return name


def save_voice(voice: Voice, name: str, *, overwrite: bool = False, folder: Path | None = None) -> Path:
    """Keep a voice in the library under a name, or at a path that ends in .npz; the file it is in.

    folder: of the library. Raises VoiceError for what cannot be a name, for one that the model in the voice's metadata
    has itself, and, unless overwrite is set, for one that is taken.
    """
    path = voice_file(name, overwrite=overwrite, folder=folder, model=voice.metadata.model)
    if not name.endswith(".npz"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VoiceError(f"cannot make the folder {path.parent} for voices: {error.strerror}") from error
    voice.save(path)
    _scan.cache_clear()
    return path


def voice_file(
    name: str, *, overwrite: bool = False, folder: Path | None = None, model: str | Path | None = None
) -> Path:
    """Where `save_voice` writes: for use before a long generation. Touches nothing. Raises VoiceError as it does."""
    if name.endswith(".npz"):
        path = Path(name).expanduser()
        try:
            check_writable(path)
        except OSError as error:
            raise VoiceError(f"cannot write the voice {name}: {error}") from error
        return path
    check_name(name)
    if model is not None and (own := spellings(name, own_voices(model))):
        raise VoiceError(
            f"{model} has a voice {own[0]} of its own, which would always be used instead: take another name"
        )
    path = (folder or library_folder()) / f"{name}.npz"
    if path.exists() and not overwrite:
        raise VoiceError(f"there is a voice {name} already, in {path}: take another name, or overwrite (--force)")
    return path


def own_voices(model: str | Path) -> Collection[str]:
    """The names of the voices that come with a model, as far as they are known without loading it."""
    if model == "nano":
        return _scan(NANO_VOICES)
    if model in PUBLISHED_MODELS:
        return VOICE_NAMES
    return _scan(Path(model).expanduser() / "voices")  # of a folder


def delete_voice(spec: str, *, folder: Path | None = None) -> Path:
    """Delete a voice of the library, and folders that are empty then; the file it was in. Raises VoiceError."""
    library = folder or library_folder()
    try:
        found = locate(spec, None, library)
    except VoiceError:
        if _elsewhere(spec):
            raise VoiceError(f"{spec} comes with a model: only voices of your library can be deleted") from None
        raise
    if found.source != "library":
        raise VoiceError(f"{spec} is a file, not a voice of your library: delete it yourself")
    try:
        found.path.unlink()
    except OSError as error:
        raise VoiceError(f"cannot delete the voice {found.path}: {error.strerror}") from error
    with contextlib.suppress(OSError):  # at the first folder that is not empty
        for parent in found.path.parents:
            if parent == library:
                break
            parent.rmdir()
    _scan.cache_clear()
    return found.path
