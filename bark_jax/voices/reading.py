"""Untrusted files of voices: finding them under a path, reading their arrays and metadata.

No pickle is executed, and declared sizes are not trusted.
"""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bark_jax.arrays import open_plain, parse_npy, read_bounded, read_member
from bark_jax.quoting import shorten
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.metadata import METADATA_FILE, VoiceMetadata, parse_metadata
from bark_jax.voices.names import fold
from bark_jax.voices.tokens import PROMPTS, Arrays

_MAX_BYTES = 2**23  # of one stored array
_MAX_FILE = 2**24  # bytes of one file
_MAX_METADATA_BYTES = 2**16
_RECORDINGS = {
    ".aac", ".aif", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp3", ".mp4",
    ".oga", ".ogg", ".opus", ".wav", ".webm", ".wma",
}  # fmt: skip


def is_voice_file(path: str | Path) -> bool:
    """Whether the name is that of a file, of tokens or of a recording."""
    return _suffix(path) in {".npz", *_RECORDINGS}


def _suffix(path: str | Path) -> str:
    return Path(path).suffix.lower()


def find_file(spec: str | Path) -> Path | None:
    """The `.npz` file that a path means, or what the names of three `.npy` files begin with; None if there is none.

    `~` is the user's folder, `.npz` may be left out, backslashes may separate folders, and any letter case will do
    where the path as it is written does not exist.
    """
    written = os.path.expanduser(spec)
    spellings = dict.fromkeys([written, written.replace("\\", "/")])
    candidates = [file for spelling in spellings for file in _candidates(spelling)]
    try:
        found = next(filter(os.path.lexists, candidates), None) or next(
            filter(None, map(_in_any_case, candidates)), None
        )
    except (OSError, ValueError):  # a name that is too long or no name at all
        return None
    return found and _without_prompt(found)


def _candidates(spelling: str) -> Iterator[Path]:
    path = _without_prompt(Path(spelling))
    if _suffix(path) == ".npz":
        yield path
    else:
        yield from (Path(f"{path}_{prompt}.npy") for prompt in PROMPTS)
        yield Path(f"{path}.npz")


def _without_prompt(path: Path) -> Path:
    """What the name of one of three `.npy` files begins with; any other path as it is."""
    for prompt in PROMPTS:
        if path.name.lower().endswith(f"_{prompt}.npy"):
            return path.with_name(path.name[: -len(f"_{prompt}.npy")])
    return path


def _in_any_case(path: Path) -> Path | None:
    """The one file or folder whose path differs from this in letter case only."""
    if path.exists() or path.parent == path:
        return path if path.exists() else None
    folder = _in_any_case(path.parent)
    if folder is None or not folder.is_dir():
        return None
    entries = (entry for entry in folder.iterdir() if _suffix(entry) == _suffix(path))
    alike = [entry for entry in entries if fold(entry.name) == fold(path.name)]
    return alike[0] if len(alike) == 1 else None


def read_voice_file(path: Path) -> tuple[Arrays, VoiceMetadata]:
    """The arrays in an `.npz` file, or in three `.npy` files, by their names. Raises VoiceError naming the file."""
    if _suffix(path) in _RECORDINGS:
        raise VoiceError(
            f"{path} is a recording; a voice is an .npz file of tokens. Make one of it first: "
            f"bark-jax voices create {path} NAME --model MODEL, or Bark.voice_from in Python"
        )
    if _suffix(path) != ".npz":
        return _read_triple(path), VoiceMetadata()  # errors name the one of the three
    try:
        return _read_npz(path)
    except Exception as error:  # zip, npy and JSON parsers raise a dozen kinds on damaged files
        raise VoiceError(f"cannot read the voice {path}: {shorten(error)}") from error


def read_metadata(path: Path | str) -> VoiceMetadata:
    """What an `.npz` file says of its voice, without reading its arrays. Raises VoiceError naming the file."""
    try:
        with open_plain(Path(path), _MAX_FILE) as file, zipfile.ZipFile(file) as archive:
            return _read_metadata(archive)
    except Exception as error:  # as in read_voice_file
        raise VoiceError(f"cannot read the voice {path}: {shorten(error)}") from error


def _read_npz(path: Path) -> tuple[Arrays, VoiceMetadata]:
    with open_plain(path, _MAX_FILE) as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        twice = [prompt for prompt in PROMPTS if names.count(f"{prompt}.npy") > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} is in it twice")
        stored = [prompt for prompt in PROMPTS if f"{prompt}.npy" in names]
        arrays = {prompt: parse_npy(read_member(archive, f"{prompt}.npy", _MAX_BYTES)) for prompt in stored}
        return arrays, _read_metadata(archive)


def _read_metadata(archive: zipfile.ZipFile) -> VoiceMetadata:
    """The metadata, or none if the archive has none."""
    if METADATA_FILE not in archive.namelist():
        return VoiceMetadata()
    return parse_metadata(read_member(archive, METADATA_FILE, _MAX_METADATA_BYTES))


def _read_triple(prefix: Path) -> Arrays:
    files = {prompt: Path(f"{prefix}_{prompt}.npy") for prompt in PROMPTS}
    there = {prompt: file for prompt, file in files.items() if os.path.lexists(file)}
    if not there:
        problem = "there is no such file, with .npz or _semantic_prompt.npy"
        if prefix.exists():
            problem = (
                f"it is a {'folder' if prefix.is_dir() else 'file of another kind'}; a voice is an .npz file of tokens"
            )
        raise VoiceError(f"cannot read the voice {prefix}: {problem}")
    return {prompt: read_npy(file) for prompt, file in there.items()}


def read_npy(path: Path) -> npt.NDArray[np.generic]:
    """The array in an `.npy` file. No pickle is executed, and its declared size is not trusted. Raises VoiceError."""
    try:
        with open_plain(path, _MAX_FILE) as stream:
            return parse_npy(read_bounded(stream, _MAX_BYTES))
    except Exception as error:  # numpy's parser raises a dozen kinds on damaged files
        raise VoiceError(f"cannot read {path}: {shorten(error)}") from error
