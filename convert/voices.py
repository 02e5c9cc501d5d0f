"""The voices that come with a source: all that can be used, with a warning that names the others."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from bark_jax.checkpoint import CheckpointError, read_json
from bark_jax.config import BarkConfig
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.names import check_name
from bark_jax.voices.reading import read_npy
from bark_jax.voices.tokens import PROMPTS
from bark_jax.voices.voice import Voice

from .errors import ConversionError
from .files import inside

_INDEX = "speaker_embeddings_path.json"
_EMBEDDINGS = "speaker_embeddings"  # Hugging Face's folder: three .npy files a voice, and .npz files of users
_ARCHIVES = (_EMBEDDINGS, "assets/prompts")  # folders with .npz files; the second is Suno's
_LISTED = 10  # names of voices that a warning gives for one reason

Voices: TypeAlias = list[tuple[str, Voice]]


class VoicesLeftOut(UserWarning):
    """Voices of a source that are not in the converted checkpoint: the message names them, with the reasons."""


def read_voices(folder: Path, config: BarkConfig) -> Voices:
    """Name and voice of all that the folder has: in Hugging Face's index, in `.npy` files beside it, in `.npz` files.

    Paths in the index may not leave the folder, and no pickle is executed. Warns with VoicesLeftOut, in one line, of
    voices that cannot be used: their files are missing, damaged or of another model, or no file can have their name.
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
            reason = str(error).replace(f"{folder}/", "").removeprefix(f"{name} ")
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
    for name, paths in _triples(folder / _EMBEDDINGS):
        if name not in indexed:
            yield name, paths
    for archives in _ARCHIVES:
        for file in sorted((folder / archives).rglob("*.npz")):
            if not file.name.startswith("."):
                name = file.relative_to(folder / archives).with_suffix("").as_posix()
                yield name, f"{archives}/{name}.npz"


def _triples(embeddings: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The voices in `.npy` files, named after them."""
    end = f"_{PROMPTS[0]}.npy"
    for file in sorted(embeddings.rglob(f"*{end}")):
        name = file.relative_to(embeddings).as_posix().removesuffix(end)
        yield name, {prompt: f"{_EMBEDDINGS}/{name}_{prompt}.npy" for prompt in PROMPTS}


def _read(folder: Path, name: str, source: Any, config: BarkConfig) -> Voice:
    if isinstance(source, str):
        return Voice.load(inside(folder, source), config)
    if not isinstance(source, dict):
        raise ConversionError(f"{_INDEX} must name its {', '.join(PROMPTS)}")
    paths = {prompt: _inside(folder, source[prompt], name) for prompt in PROMPTS if prompt in source}
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
