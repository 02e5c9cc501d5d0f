"""What callers give, read for one model: texts, voices, seeds and settings → token ids and `Options`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bark_jax.config import BarkConfig
from bark_jax.generation import Generation
from bark_jax.inputs import Options, choose_seed, is_fresh
from bark_jax.settings import Settings, SettingsError
from bark_jax.text import TextReader
from bark_jax.voices.library import catalogue, choose_voice
from bark_jax.voices.voice import MakeFine, Voice

VoiceSource: TypeAlias = Voice | Generation | Mapping[str, npt.ArrayLike] | str | Path | None


class Frontend:
    """A model's tokenizer, voices and default settings: all that is needed before its networks run."""

    def __init__(
        self, config: BarkConfig, tokenizer: Tokenizer, *, voice_folder: Path | None = None,
        may_draw_seeds: bool = True,
        make_fine: MakeFine | None = None,
    ) -> None:  # fmt: skip
        """may_draw_seeds: False where several processes must use the same seed, which then has to be given.

        make_fine: for voices without fine codes; without it, they are refused.
        """
        self.config = config
        self.tokenizer = tokenizer
        self.reader = TextReader(tokenizer, config.semantic)
        self.voice_folder = voice_folder
        self.settings = Settings.defaults(config)
        self.may_draw_seeds = may_draw_seeds
        self._make_fine = make_fine

    def encode(self, text: str) -> np.ndarray:
        """Text → token ids, int32 [≤ max_text]. Raises TextError; warns as `text.warn_of` does."""
        (ids,) = self.reader.encode([text])
        return ids

    def options(self, voice: VoiceSource, seed: int | None, settings: Settings | None, **overrides: object) -> Options:
        """The choices for one item, checked, with a fresh seed if there is none.

        Raises SettingsError and VoiceError.
        """
        if is_fresh(seed) and not self.may_draw_seeds:
            raise SettingsError("give a seed: the processes of a mesh must all use the same one")
        seed = choose_seed(seed)
        if not isinstance(settings, Settings | None):
            raise SettingsError(f"settings must be a Settings, not {type(settings).__name__}")
        settings = (self.settings if settings is None else settings).replace(**overrides)
        settings.check(self.config)
        return Options(voice=self.find_voice(voice), seed=seed, settings=settings)

    def find_voice(self, voice: VoiceSource) -> Voice | None:
        """Anything that stands for a voice, checked against this model; see `voices.library.choose_voice`."""
        source = voice.as_voice() if isinstance(voice, Generation) else voice
        return choose_voice(source, self.config, self.voice_folder, self._make_fine)

    def voices(self) -> list[str]:
        """Names that `find_voice` knows: the voices that came with the model, then those of the user's library."""
        return [entry.name for entry in catalogue(self.voice_folder, published=False)]
