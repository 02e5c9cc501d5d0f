"""The voices that come with a source."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bark_jax.checkpoint import read_json
from bark_jax.config import BarkConfig
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import list_voices
from bark_jax.voices.reading import read_npy
from bark_jax.voices.tokens import PROMPTS
from bark_jax.voices.voice import Voice

from .errors import ConversionError, refuse
from .files import inside

_INDEX = "speaker_embeddings_path.json"
_SUNO_FOLDER = Path("assets", "prompts")
_NAME = r"[\w-]+(?:/[\w-]+)*"

Voices = list[tuple[str, Voice]]


def read_voices(folder: Path, config: BarkConfig) -> Voices:
    """Name and voice of all that the folder has: Hugging Face's index of `.npy` files, else Suno's `.npz` files.

    A voice whose files were not downloaded is left out. Paths in the index may not leave the folder, and no pickle is
    executed. Raises ConversionError naming every voice that is damaged or does not fit the model, and CheckpointError
    for an index that is not JSON.
    """
    voices: Voices = []
    problems = []
    has_index = (folder / _INDEX).is_file()
    for name, source in _indexed(folder) if has_index else _archived(folder / _SUNO_FOLDER):
        try:
            if (voice := _read(folder, name, source, config)) is not None:
                voices.append((name, voice))
        except (ConversionError, VoiceError) as error:
            problems.append(str(error))
    refuse(f"{folder} has voices that cannot be used; delete or repair them", problems)
    return voices


def _indexed(folder: Path) -> Iterator[tuple[str, Any]]:
    for name, paths in read_json(folder / _INDEX).items():
        if name != "repo_or_path":  # where its author kept the files: here they are beside the index
            yield name, paths


def _archived(folder: Path) -> Iterator[tuple[str, Any]]:
    for name in list_voices(folder):
        yield name, folder / f"{name}.npz"


def _read(folder: Path, name: str, source: Any, config: BarkConfig) -> Voice | None:
    if not re.fullmatch(_NAME, name):
        raise ConversionError(f"{name!r:.200} is not a name for a voice")
    if isinstance(source, Path):
        return Voice.load(source, config)
    if not isinstance(source, dict) or source.keys() != set(PROMPTS):
        raise ConversionError(f"{_INDEX}: {name} must name {', '.join(PROMPTS)}")
    paths = {prompt: inside(folder, source[prompt]) for prompt in PROMPTS}
    if not any(path.exists() for path in paths.values()):
        return None
    return Voice.from_arrays({prompt: read_npy(path) for prompt, path in paths.items()}, config, name=name)
