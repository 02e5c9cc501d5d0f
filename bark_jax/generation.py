"""What `Bark.generate` returns."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from bark_jax.hearing.timing import WordTime
from bark_jax.sound import Sound, excerpt
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import save_voice
from bark_jax.voices.metadata import MAX_CHARACTERS, VoiceMetadata
from bark_jax.voices.voice import Voice


class EmptyGeneration(UserWarning):
    """The model ended the clip before its first token."""


def warn_if_empty(semantic: np.ndarray, what: str, stacklevel: int) -> None:
    """Warn with EmptyGeneration that `what` has no tokens; `stacklevel` as of `warnings.warn`, in the caller."""
    if not len(semantic):
        message = f"the model ended {what} before its first token: try another seed"
        warnings.warn(message, EmptyGeneration, stacklevel=stacklevel + 1)


class Tokens(NamedTuple):
    """What the transformers make of one text."""

    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32

    @classmethod
    def none(cls) -> Self:
        """Those of no text."""
        return cls(*(np.zeros(shape, np.int32) for shape in (0, (2, 0), (8, 0))))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Generation(Sound):
    """One generated clip with everything it was made from."""

    text: str
    seed: int
    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32
    model: str | None = field(default=None, compare=False)  # that made it, as it was given to `Bark.from_pretrained`
    # Seconds per stage, of the whole batch; the first call of a shape compiles.
    timings: Mapping[str, float] = field(compare=False)
    # By stage and name what `Bark.generate(outputs=…)` asked for: semantic [N, …], coarse [2, T, …], fine [8, T, …].
    outputs: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict, compare=False)

    # What `word_times=True` adds: the words that were said, and the seconds that went on after the text.
    words: tuple[WordTime, ...] | None = field(default=None, compare=False)
    tail_seconds: float | None = field(default=None, compare=False)

    @property
    def tokens(self) -> Tokens:
        """All three arrays."""
        return Tokens(self.semantic, self.coarse, self.fine)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work, for the whole batch, per second of this clip; infinite for an empty clip."""
        return sum(self.timings.values()) / self.seconds if self.seconds else float("inf")

    def as_voice(
        self, *, language: str | None = None, description: str | None = None, model: str | None = None
    ) -> Voice:
        """This clip as the voice of later ones; its seed and text go with it. Raises VoiceError for an empty clip.

        language: a tag, such as "de". model: the name of the one that made the clip, by default that it was loaded by.
        """
        if not self.fine.size:
            raise VoiceError("an empty clip cannot be a voice: try another seed")
        metadata = VoiceMetadata(
            language=language, description=description, model=model or self.model,
            seed=int(self.seed), text=self.text[:MAX_CHARACTERS],
        )  # fmt: skip
        return Voice(semantic=self.semantic, coarse=self.coarse, fine=self.fine, metadata=metadata)

    def save_voice(
        self,
        name: str,
        *,
        language: str | None = None,
        description: str | None = None,
        model: str | None = None,
        overwrite: bool = False,
        folder: Path | None = None,
    ) -> Path:
        """Keep this clip as a voice in the user's library: `generate(voice=name)` then speaks with it.

        name: or a path that ends in .npz. folder: another library. Returns the file. Raises VoiceError for what cannot
        be a name, a name that is taken unless `overwrite` is set, and an empty clip; see `as_voice` for the rest.
        """
        voice = self.as_voice(language=language, description=description, model=model)
        return save_voice(voice, name, overwrite=overwrite, folder=folder)

    def __repr__(self) -> str:
        return f"Generation({excerpt(self.text)}, {self.seconds:.2f} s at {self.sample_rate} Hz, seed {self.seed})"

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        return self.player(
            f"{self.seconds:.2f} s · seed {self.seed} · real-time factor {self.real_time_factor:.2f} · {self.text}"
        )
