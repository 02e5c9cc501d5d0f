"""Which model a command uses and the voices it asks for: found and checked without JAX, before anything is loaded."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bark_jax.checkpoint import read_config
from bark_jax.cli.console import note
from bark_jax.config import RANDOM, BarkConfig
from bark_jax.hub import HubUnreachableError
from bark_jax.inputs import naming
from bark_jax.layouts import NANO
from bark_jax.loading import resolve
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import default_voice, find_voice
from bark_jax.voices.voice import Voice

DEFAULT_MODEL = "suno/bark-small"

Cast: TypeAlias = Mapping[str | None, Voice | None]
"""The voice of each speaker, and under None of who is not named; None for one who keeps that of the first piece."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that can be loaded."""

    name: str  # as the user calls it
    config: BarkConfig
    folder: Path | None  # of the converted checkpoint; None for random weights

    @property
    def source(self) -> str | Path:
        """What `Bark.from_pretrained` takes."""
        return self.folder or self.name

    @property
    def voice_folder(self) -> Path | None:
        """Where its own voices are."""
        return self.folder and self.folder / "voices"

    def find_voices(self, cast: Mapping[str | None, str | None]) -> Cast:
        """Each speaker's voice, by its name or path, checked against the model. Raises VoiceError."""
        found: dict[str | None, Voice | None] = {}
        for speaker, voice in cast.items():
            with nullcontext() if speaker is None else naming(f"the voice of {speaker}"):
                found[speaker] = self._find_voice(speaker, voice)
        return found

    def _find_voice(self, speaker: str | None, voice: str | None) -> Voice | None:
        if voice is not None:
            return find_voice(voice, self.voice_folder, self.config)
        return default_voice(self.voice_folder, self.config) if speaker is None else None


def find_model(name: str, *, progress: bool = True) -> Model:
    """The model of that name: downloaded and converted if need be. Raises CheckpointError, ConfigError."""
    if name.startswith(RANDOM):
        return Model(name=name, config=BarkConfig.preset(name.removeprefix(RANDOM)), folder=None)
    folder = resolve(name, progress=progress)
    return Model(name=name, config=read_config(folder), folder=folder)


def find_cast(
    name: str, fallback: str | None, cast: Mapping[str | None, str | None], *, progress: bool = True
) -> tuple[Model, Cast]:
    """A model, and the voices of the speakers. fallback: a model to use, with a warning, where the hub is unreachable.

    Raises HubUnreachableError, CheckpointError, ConfigError, VoiceError.
    """
    try:
        model = find_model(name, progress=progress)
    except HubUnreachableError as error:
        if fallback is None:
            error.add_note(f"To accept another model then: --fallback {NANO}.")
            raise
        return _fall_back(fallback, cast, error, progress=progress)
    return model, model.find_voices(cast)


def _fall_back(
    fallback: str, cast: Mapping[str | None, str | None], error: HubUnreachableError, *, progress: bool
) -> tuple[Model, Cast]:
    model = find_model(fallback, progress=progress)
    try:
        found = model.find_voices(cast)
    except VoiceError as reason:
        error.add_note(f"({fallback}, the fallback, cannot speak either: {reason})")
        raise error from None
    note(f"warning: {fallback} speaks instead, at {model.config.codec.sample_rate / 1000:g} kHz: {error}")
    return model, found
