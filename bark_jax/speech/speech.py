"""What `Bark.speak` returns: a long text, spoken, and all that is needed to speak any part of it again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from bark_jax.audio import Waveform
from bark_jax.config import BarkConfig
from bark_jax.generation import Generation, Tokens
from bark_jax.hearing.timing import WordTime
from bark_jax.quoting import count_of
from bark_jax.sound import Sound, excerpt
from bark_jax.speech import subtitles
from bark_jax.speech.joining import Join
from bark_jax.speech.record import make_folder, piece_file
from bark_jax.speech.report import describe, read_report, write_report
from bark_jax.speech.spoken import SpokenPiece, sum_timings


class Timeline(NamedTuple):
    """A speech as it would be drawn: its tokens where they are heard, and −1 where there is a pause."""

    waveform: Waveform  # [samples] float32
    sample_rate: int  # Hz
    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Speech(Sound):
    """A whole text, spoken and joined; or the beginning of one, for who has stopped listening."""

    pieces: tuple[SpokenPiece, ...]
    seed: int  # of which every piece's is derived (`bark_jax.inputs.derive_seed`)
    lead: float  # seconds of silence before the first piece
    join: Join
    model: str | None = field(default=None, compare=False)  # that made it, as it was given to `Bark.from_pretrained`
    # Seconds of work before the first samples; None if there were none.
    time_to_first_audio: float | None = field(default=None, compare=False)
    # What `word_times=True` adds: the words that were said, and for each piece the seconds that went on after its text.
    words: tuple[WordTime, ...] | None = field(default=None, compare=False)
    tails: tuple[float, ...] | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """All that is said, a line for each piece."""
        return "\n".join(said.piece.text for said in self.pieces)

    @property
    def tokens(self) -> Tokens:
        """Those of all pieces, one after the other; empty arrays before the first whole piece."""
        arrays = zip(*(said.tokens for said in self.pieces), strict=True)
        return Tokens(*(np.concatenate(of_pieces, axis=-1) for of_pieces in arrays)) if self.pieces else Tokens.none()

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio; infinite if there is none."""
        return sum(self.timings.values()) / self.seconds if self.seconds else float("inf")

    @property
    def timings(self) -> dict[str, float]:
        """Seconds of work per stage, all pieces together."""
        return sum_timings(said.timings for said in self.pieces)

    def clip(self, index: int) -> Generation:
        """A piece, as it is in the joined waveform, as a clip: to be played, or kept as a voice. Raises IndexError."""
        said = self.pieces[index]
        first, last = (round(seconds * self.sample_rate) for seconds in (said.start, said.end))
        return Generation(
            text=said.piece.text, seed=said.seed, sample_rate=self.sample_rate,
            waveform=self.waveform[first:last].copy(),  # a view would keep the whole speech in memory
            timings=said.timings, model=self.model, **said.tokens._asdict(),
        )  # fmt: skip

    def timeline(self, config: BarkConfig) -> Timeline:
        """The speech on one time axis, by the rates of the model that made it."""
        rates = {"semantic": config.semantic.rate_hz, "coarse": config.codec.frame_rate_hz}
        rates["fine"] = rates["coarse"]
        axis = {}
        for name, rate in rates.items():
            rows = {"semantic": (), "coarse": (config.coarse.codebooks,), "fine": (config.codec.codebooks,)}[name]
            axis[name] = np.full((*rows, math.ceil(self.seconds * rate)), -1, np.int32)
            for said in self.pieces:
                heard = axis[name][..., round(said.start * rate) : round(said.end * rate)]
                array = getattr(said.tokens, name)
                heard[..., : array.shape[-1]] = array[..., : heard.shape[-1]]
        return Timeline(self.waveform, self.sample_rate, **axis)

    def __repr__(self) -> str:
        facts = (
            f"{count_of(len(self.pieces), 'piece')}, {self.seconds:.2f} s at {self.sample_rate} Hz, seed {self.seed}"
        )
        return f"Speech({excerpt(self.text)}, {facts})"

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        facts = f"{self.seconds:.2f} s · {count_of(len(self.pieces), 'piece')} · seed {self.seed}"
        return self.player(f"{facts} · real-time factor {self.real_time_factor:.2f} · {self.text}")

    def save_pieces(self, folder: str | Path, suffix: str = ".wav") -> list[Path]:
        """Write every piece, as it is in the joined waveform, to `folder`/000.wav, 001.wav, …; returns the paths.

        The folder is made if there is none. Raises AudioError.
        """
        folder = make_folder(Path(folder))
        paths = [piece_file(folder, index, suffix) for index in range(len(self.pieces))]
        for index, path in enumerate(paths):
            self.clip(index).save(path)
        return paths

    def srt(self) -> str:
        """Subtitles in the SubRip format. Times within a piece are estimates (see `bark_jax.speech.subtitles`)."""
        return subtitles.srt(self._cues())

    def vtt(self) -> str:
        """Subtitles in the WebVTT format."""
        return subtitles.vtt(self._cues())

    def _cues(self) -> Iterator[subtitles.Cue]:
        for said in self.pieces:
            yield subtitles.Cue(start=said.start, end=said.end, text=said.piece.text, speaker=said.piece.speaker)

    def report(self) -> dict[str, Any]:
        """What was done, as JSON would hold it: everything but tokens and audio."""
        return describe(self.pieces, **self._facts())

    def save_report(self, path: str | Path) -> None:
        """Write the report with all tokens, for `Bark.load_speech`: JSON, whole or not at all. Raises SpeechError."""
        write_report(Path(path), self.pieces, **self._facts())

    def _facts(self) -> dict[str, Any]:
        names = ("seconds", "sample_rate", "time_to_first_audio", "seed", "lead", "join", "model")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def load_report(cls, path: str | Path, config: BarkConfig) -> Self:
        """What `save_report` wrote, checked against the model, as a speech without audio. Raises SpeechError."""
        stored = read_report(Path(path), config)
        return cls(**stored._asdict(), waveform=np.zeros(0, np.float32), sample_rate=config.codec.sample_rate)
