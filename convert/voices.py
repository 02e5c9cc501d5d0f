"""The voices that come with a source: all that can be used, with a warning that names the others."""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from bark_jax.checkpoint import CheckpointError, read_json
from bark_jax.config import BarkConfig
from bark_jax.layouts import SEMANTIC_CLUSTERS
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.names import check_name, is_name
from bark_jax.voices.reading import read_npy
from bark_jax.voices.tokens import PROMPTS
from bark_jax.voices.voice import Voice

from .errors import ConversionError
from .files import inside

_INDEX = "speaker_embeddings_path.json"
_EMBEDDINGS = "speaker_embeddings"  # Hugging Face's folder: three .npy files a voice, and .npz files of users
_ARCHIVES = (_EMBEDDINGS, "assets/prompts")  # folders with .npz files; the second is Suno's
_TRIPLE = re.compile(rf"(.+)_({'|'.join(PROMPTS)})\.npy", re.IGNORECASE | re.DOTALL)  # the name of one of three files
_LISTED = 10  # names of voices that a warning gives for one reason

Voices: TypeAlias = list[tuple[str, Voice]]


class VoicesLeftOut(UserWarning):
    """Voices of a source that are not in the converted checkpoint: the message names them, with the reasons."""


def read_voices(folder: Path, config: BarkConfig) -> Voices:
    """Name and voice of all that the folder has: in Hugging Face's index, in `.npy` files beside it, in `.npz` files.

    Paths in the index may not leave the folder, and no pickle is executed. Warns with VoicesLeftOut, in one line, of
    voices that cannot be used: their files are missing, damaged, of another model or where no layout has voices, or no
    file can have their name.
    """
    voices: dict[str, Voice] = {}
    left_out: dict[str, list[str]] = {}  # reason → names
    for name, source in _sources(folder, left_out):
        try:
            check_name(name)
            if name in voices:
                raise ConversionError("there is another of this name")
            voices[name] = _read(folder, name, source, config)
        except (ConversionError, VoiceError) as error:
            reason = re.sub(rf"(?<!\S){re.escape(str(folder))}/", "", str(error)).removeprefix(f"{name} ")
            left_out.setdefault(reason, []).append(name)
    if left_out:
        reasons = "; ".join(f"{_listed(names)}: {reason}" for reason, names in left_out.items())
        warnings.warn(f"{folder}: voices left out: {reasons}", VoicesLeftOut, stacklevel=2)
    return list(voices.items())


def _listed(names: list[str]) -> str:
    shown = [f"{name!r:.60}" for name in names[:_LISTED]]
    return ", ".join(shown + ([f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else []))


def _sources(folder: Path, left_out: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
    """The name of each voice, and its paths by prompt or the path of its `.npz` file, relative to the folder."""
    index: dict[str, Any] = {}
    if (folder / _INDEX).is_file():
        try:
            index = read_json(folder / _INDEX)
        except CheckpointError as error:
            left_out[str(error)] = [_INDEX]
    index.pop("repo_or_path", None)  # where its author kept the files: here they are beside the index
    indexed = {_slashes(name): paths for name, paths in index.items()}  # written on Windows, it has backslashes
    yield from indexed.items()
    taken = _files(folder, indexed)
    for name, paths in _triples(folder).items():
        if name not in indexed and taken.isdisjoint(folder / path for path in paths.values()):
            yield name, paths
    for archives in _ARCHIVES:
        for file in _archives(folder / archives):
            if file not in taken:
                yield (
                    file.relative_to(folder / archives).with_suffix("").as_posix(),
                    file.relative_to(folder).as_posix(),
                )
    elsewhere = (file for file in _archives(folder) if file not in taken)
    for path in (file.relative_to(folder) for file in elsewhere):
        if not any(path.is_relative_to(archives) for archives in _ARCHIVES) and str(path) != SEMANTIC_CLUSTERS:
            left_out.setdefault(f"not in {' or '.join(_ARCHIVES)}", []).append(path.as_posix())


def _archives(folder: Path) -> Iterator[Path]:
    files = (file for file in sorted(folder.rglob("*")) if file.suffix.lower() == ".npz")
    return (file for file in files if not file.name.startswith("."))


def _files(folder: Path, indexed: Mapping[str, Any]) -> set[Path]:
    """The files of the voices in an index, which are taken once, by the name that they have there."""
    found: set[Path] = set()
    for name, paths in indexed.items():
        for path in (paths.values() if isinstance(paths, dict) else [paths]) if is_name(name) else []:
            with suppress(ConversionError):
                found.add(_inside(folder, path, name))
    return found


def _triples(folder: Path) -> dict[str, dict[str, str]]:
    """The voices in `.npy` files, named after them; some may lack files."""
    voices: dict[str, dict[str, str]] = {}
    for file in sorted((folder / _EMBEDDINGS).rglob("*")):
        if found := _TRIPLE.fullmatch(file.relative_to(folder / _EMBEDDINGS).as_posix()):
            voices.setdefault(found[1], {})[found[2].lower()] = file.relative_to(folder).as_posix()
    return voices


def _read(folder: Path, name: str, source: Any, config: BarkConfig) -> Voice:
    if isinstance(source, str):
        return Voice.load(_inside(folder, source, name), config)
    if not isinstance(source, dict):
        raise ConversionError(f"{_INDEX} must name its {', '.join(PROMPTS)}")
    paths = {prompt: _inside(folder, source[prompt], name) for prompt in PROMPTS if source.get(prompt) is not None}
    there = {prompt: path for prompt, path in paths.items() if path.exists()}
    if not there:
        raise ConversionError("the files are not there")
    return Voice.from_arrays({prompt: read_npy(path) for prompt, path in there.items()}, config, name=name)


def _inside(folder: Path, path: object, voice: str) -> Path:
    """The file that an index names, with slashes or backslashes, from the folder or from that of the voice."""
    as_written = inside(folder, path)
    if not isinstance(path, str):
        return as_written
    starts = ("", f"{_EMBEDDINGS}/", f"{_EMBEDDINGS}/{voice}/../")
    others = [inside(folder, os.path.normpath(start + _slashes(path))) for start in starts]
    return next((other for other in others if other.exists()), as_written)


def _slashes(path: str) -> str:
    return path.replace("\\", "/")
