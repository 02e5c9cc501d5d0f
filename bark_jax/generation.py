"""What `Bark.generate` returns."""

import base64
import html
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bark_jax.audio import encode_audio, write_audio
from bark_jax.voices.library import save_voice
from bark_jax.voices.voice import MAX_CHARACTERS, Voice, VoiceError, VoiceMetadata


class EmptyGeneration(UserWarning):
    """The model ended the clip before its first token."""


def warn_if_empty(semantic: np.ndarray, what: str, stacklevel: int) -> None:
    """Warn with EmptyGeneration that `what` has no tokens, from so many callers up, as `warnings.warn` counts them."""
    if not len(semantic):
        message = f"the model ended {what} before its first token: try another seed"
        warnings.warn(message, EmptyGeneration, stacklevel=stacklevel + 1)


class Tokens(NamedTuple):
    """What the transformers make of one text."""

    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generated clip with everything it was made from."""

    text: str
    seed: int
    sample_rate: int  # Hz
    waveform: np.ndarray  # [samples] float32, about −1 … 1
    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32
    timings: Mapping[str, float]  # seconds per stage, of the whole batch; the first call of a shape compiles

    @property
    def tokens(self) -> Tokens:
        """All three arrays."""
        return Tokens(self.semantic, self.coarse, self.fine)

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.waveform) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of work, for the whole batch, per second of this clip; infinite for an empty clip."""
        return sum(self.timings.values()) / self.seconds if self.seconds else float("inf")

    def save(self, path: str | Path) -> None:
        """Write the waveform to a .wav, .flac or .ogg file. Raises AudioError."""
        write_audio(path, self.waveform, self.sample_rate)

    def as_voice(
        self, *, language: str | None = None, description: str | None = None, model: str | None = None
    ) -> Voice:
        """This clip as the voice of later ones; its seed and text go with it. Raises VoiceError for an empty clip.

        language: a tag, such as "de". model: the name of the one that made the clip.
        """
        if not self.fine.size:
            raise VoiceError("an empty clip cannot be a voice: try another seed")
        metadata = VoiceMetadata(
            language=language, description=description, model=model,
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
        be a name, one that is taken if not told to overwrite, and an empty clip; see `as_voice` for the rest.
        """
        voice = self.as_voice(language=language, description=description, model=model)
        return save_voice(voice, name, overwrite=overwrite, folder=folder)

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        facts = (
            f"{self.seconds:.2f} s · seed {self.seed} · real-time factor {self.real_time_factor:.2f} · "
            f"{html.escape(self.text)}"
        )
        if not self.seconds:
            return f"<p>An empty clip · {facts}</p>"
        data = base64.b64encode(encode_audio(self.waveform, self.sample_rate, ".wav")).decode()
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio><p>{facts}</p>'
