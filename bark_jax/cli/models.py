"""Which model a command uses and the voices it asks for: found and checked without JAX, before anything is loaded."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt

from bark_jax.checkpoint import HubUnreachableError, read_config
from bark_jax.cli.console import note
from bark_jax.config import RANDOM, BarkConfig
from bark_jax.inputs import naming
from bark_jax.layouts import NANO
from bark_jax.loading import resolve
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import find_voice

DEFAULT_MODEL = "suno/bark-small"

Cast: TypeAlias = Mapping[str | None, str | None]
"""The name or path of each speaker's voice, and under None of the text's; None where none is asked for."""

Codes: TypeAlias = npt.NDArray[np.int32]


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

    def check_voices(self, cast: Cast) -> None:
        """Raise VoiceError for a voice that the model cannot find or use."""
        fine = self.config.codec.codebooks

        def pretend(coarse: Codes) -> Codes:  # fine codes that are missing are made later, by the model
            return np.concatenate([coarse, np.zeros((fine - len(coarse), coarse.shape[1]), np.int32)])

        for speaker, voice in cast.items():
            if voice is not None:
                with nullcontext() if speaker is None else naming(f"the voice of {speaker}"), catch_warnings():
                    simplefilter("ignore")  # they come again when the voice is used
                    find_voice(voice, self.voice_folder, self.config, make_fine=pretend)


def find_model(name: str, *, progress: bool = True) -> Model:
    """The model of that name: downloaded and converted if need be. Raises CheckpointError, ConfigError."""
    if name.startswith(RANDOM):
        return Model(name=name, config=BarkConfig.preset(name.removeprefix(RANDOM)), folder=None)
    folder = resolve(name, progress=progress)
    return Model(name=name, config=read_config(folder), folder=folder)


def find_speaking(name: str, fallback: str | None, cast: Cast, *, progress: bool = True) -> Model:
    """A model that can speak with these voices. fallback: a model to use, with a warning, where the hub is unreachable.

    Raises HubUnreachableError, CheckpointError, ConfigError, VoiceError.
    """
    try:
        model = find_model(name, progress=progress)
    except HubUnreachableError as error:
        if fallback is None:
            error.add_note(f"To accept another model then: --fallback {NANO}.")
            raise
        return _fall_back(fallback, cast, error, progress=progress)
    model.check_voices(cast)
    return model


def _fall_back(fallback: str, cast: Cast, error: HubUnreachableError, *, progress: bool) -> Model:
    model = find_model(fallback, progress=progress)
    try:
        model.check_voices(cast)
    except VoiceError as reason:
        error.add_note(f"({fallback}, the fallback, cannot speak either: {reason})")
        raise error from None
    note(f"warning: {fallback} speaks instead, at {model.config.codec.sample_rate / 1000:g} kHz: {error}")
    return model
