"""Voices by name: those that came with a model, and the library, a folder of `.npz` files that the user owns."""

import dataclasses
import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from platformdirs import user_data_path

from bark_jax.config import BarkConfig
from bark_jax.files import check_writable
from bark_jax.quoting import quote
from bark_jax.voices.voice import Voice, VoiceError, VoiceMetadata, read_metadata

_LANGUAGES = ("de", "en", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")
_SPEAKERS = tuple(f"speaker_{i}" for i in range(10))

VOICE_NAMES = (
    "announcer", *_SPEAKERS,
    *(f"{folder}{language}_{speaker}" for folder in ("", "v2/") for language in _LANGUAGES for speaker in _SPEAKERS),
)  # fmt: skip
"""The voices that Suno published. A checkpoint brings all, some or none of them."""

_MAX_NAME = 200  # bytes: file systems take 255, of which .npz and a temporary name need some
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}  # Windows'

Source: TypeAlias = Literal["model", "library", "published", "file"]


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


def catalogue(folder: Path | None = None, library: Path | None = None, *, published: bool = True) -> list[VoiceEntry]:
    """All names with what they stand for: a model's folder of voices, the library, then the other published names.

    A name stands for one voice: the model's own if it has one of that name, else the library's.
    """
    entries: dict[str, VoiceEntry] = {}
    places: dict[Source, Path | None] = {"model": folder, "library": library or library_folder()}
    for source, place in places.items():
        if place is not None:
            for name in list_voices(place):
                entries.setdefault(name, _entry(name, source, place / f"{name}.npz"))
    for name in VOICE_NAMES if published else ():
        entries.setdefault(name, VoiceEntry(name=name, source="published", metadata=_named(name, VoiceMetadata())))
    return list(entries.values())


def _entry(name: str, source: Source, path: Path) -> VoiceEntry:
    try:
        return VoiceEntry(name=name, source=source, path=path, metadata=_named(name, read_metadata(path)))
    except VoiceError as error:
        return VoiceEntry(name=name, source=source, path=path, metadata=VoiceMetadata(), problem=str(error))


def _named(name: str, metadata: VoiceMetadata) -> VoiceMetadata:
    """The metadata with the language that a published name tells, if there is no other."""
    published = re.search(r"([a-z]{2})_speaker_", name) if name in VOICE_NAMES else None
    if published is None or metadata.language is not None:
        return metadata
    return dataclasses.replace(metadata, language=published[1])


def locate(spec: str, folder: Path | None = None, library: Path | None = None) -> tuple[Source, Path]:
    """What `Voice.load` takes for a name in a model's folder, else in the library, or for a path; and which it was.

    Raises VoiceError, suggesting near names for an unknown one.
    """
    library = library or library_folder()
    ours, kept = list_voices(folder) if folder else [], list_voices(library)
    if folder and spec in ours:
        return "model", folder / f"{spec}.npz"
    if spec in kept:
        return "library", library / f"{spec}.npz"
    if spec.endswith(".npz") or os.path.isfile(f"{spec}_semantic_prompt.npy"):
        return "file", Path(spec)
    if spec in VOICE_NAMES:
        raise VoiceError(
            f"the published voice {spec} is not here: use a model that brings it, or give the path of its .npz file"
        )
    raise VoiceError(f"there is no voice {quote(spec)}: {_advice(spec, [*ours, *kept])}")


def _advice(spec: str, names: list[str]) -> str:
    near = difflib.get_close_matches(spec.lower(), names) or difflib.get_close_matches(spec.lower(), VOICE_NAMES)
    return f"did you mean {' or '.join(near)}?" if near else "give a name from `bark-jax voices` or an .npz file"


def find_voice(spec: str, folder: Path | None, config: BarkConfig, library: Path | None = None) -> Voice:
    """The voice of a name or path (see `locate`), checked against the model. Raises VoiceError."""
    voice = Voice.load(locate(spec, folder, library)[1], config)
    return dataclasses.replace(voice, name=spec, metadata=_named(spec, voice.metadata))


def save_voice(voice: Voice, name: str, *, overwrite: bool = False, folder: Path | None = None) -> Path:
    """Keep a voice in the library under a name, or at a path that ends in .npz; the file it is in.

    folder: of the library. Raises VoiceError for what cannot be a name, and for one that is taken if not told to
    overwrite.
    """
    path = voice_file(name, overwrite=overwrite, folder=folder)
    if not name.endswith(".npz"):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VoiceError(f"cannot make the folder {path.parent} for voices: {error.strerror}") from error
    voice.save(path)
    return path


def voice_file(name: str, *, overwrite: bool = False, folder: Path | None = None) -> Path:
    """Where `save_voice` writes: for use before a long generation. Touches nothing. Raises VoiceError as it does."""
    if name.endswith(".npz"):
        try:
            check_writable(Path(name))
        except OSError as error:
            raise VoiceError(f"cannot write the voice {name}: {error}") from error
        return Path(name)
    _check_name(name)
    path = (folder or library_folder()) / f"{name}.npz"
    if path.exists() and not overwrite:
        raise VoiceError(f"there is a voice {name} already, in {path}: take another name, or overwrite it (--force)")
    return path


def _check_name(name: str) -> None:
    """Raise VoiceError unless every system can keep a file of that name, in folders of that name, in the library."""
    fits = name.isprintable() and len(name.encode()) <= _MAX_NAME
    if not fits or not all(_is_file_name(part) for part in name.split("/")):
        raise VoiceError(
            f"{name!r:.100} is not a name for a voice: "
            "use letters, digits, - and _, with / between folders; or a path that ends in .npz"
        )


def _is_file_name(part: str) -> bool:
    """Whether every system takes it for the name of a visible file, and has it as it is."""
    if not part or part.strip(" .") != part or set(part) & set('<>:"\\|?*'):
        return False
    return part.partition(".")[0].lower() not in _DEVICES
