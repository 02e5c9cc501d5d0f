"""What a clip and a speech have in common: a waveform that is saved, played and compared."""

import base64
import html
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bark_jax.audio import Waveform, encode_audio, write_audio
from bark_jax.equality import EqualByContent

_SHOWN = 60  # characters of a text in a line of description


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sound(EqualByContent):
    """A waveform. Two are equal if they have the same content; how long it took to make does not count."""

    waveform: Waveform  # [samples] float32, about −1 … 1
    sample_rate: int  # Hz

    @property
    def seconds(self) -> float:
        """Length of the waveform."""
        return len(self.waveform) / self.sample_rate

    def save(self, file: str | Path | IO[bytes], *, format: str | None = None) -> None:
        """Write the waveform to a path, whole or not at all, or to a file object that is open for bytes.

        format: "wav", "flac", "ogg" or another that `bark_jax.audio` writes; by default the suffix of the path decides.
        A file object needs it. Raises AudioError.
        """
        write_audio(file, self.waveform, self.sample_rate, format)

    def wav_bytes(self) -> bytes:
        """The content of a .wav file of 16 bits. Raises AudioError for samples that are not finite numbers."""
        return encode_audio(self.waveform, self.sample_rate, ".wav")

    def player(self, facts: str) -> str:
        """HTML of a player with a line of text below it."""
        if not self.seconds:
            return f"<p>No audio · {html.escape(facts)}</p>"
        data = base64.b64encode(self.wav_bytes()).decode()
        return f'<audio controls src="data:audio/wav;base64,{data}"></audio><p>{html.escape(facts)}</p>'


def excerpt(text: str) -> str:
    """The beginning of a text, quoted, in one short line."""
    return repr(textwrap.shorten(text[: 4 * _SHOWN], _SHOWN, placeholder=" …") or text[:_SHOWN])
