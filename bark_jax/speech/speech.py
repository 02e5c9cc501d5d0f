"""What `Bark.speak` returns: a long text, spoken, and all that is needed to speak any part of it again.

A report is one JSON file with every text, seed, setting, voice and token; the audio follows from the tokens.
"""

import dataclasses
import importlib.metadata
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from bark_jax.audio import AudioError, Waveform
from bark_jax.config import BarkConfig
from bark_jax.equality import EqualByContent
from bark_jax.errors import FileError
from bark_jax.files import replacing
from bark_jax.generation import Generation, Tokens
from bark_jax.inputs import check_seed, check_tokens
from bark_jax.settings import Settings
from bark_jax.sound import Sound, excerpt
from bark_jax.speech import subtitles
from bark_jax.speech.joining import Join
from bark_jax.speech.ranking import Score
from bark_jax.speech.script import Piece
from bark_jax.voices.voice import Voice

FORMAT = "bark_jax speech 1"
_MAX_SILENCE = 3600  # seconds
_PACKAGES = ("bark-jax", "jax", "jaxlib", "flax", "numpy")


class SpeechError(FileError):
    """A report that cannot be read or written, or a piece that is not there."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SpokenPiece(EqualByContent):
    """One clip of a speech, and what it was made from: generated alone from that, it has the same tokens."""

    piece: Piece  # its text, its speaker and the pause after it
    voice: Voice | None  # called "piece N" where it is an earlier piece of the same speech, counted from 0
    seed: int
    take: int  # 0 for the first attempt
    settings: Settings
    tokens: Tokens
    score: Score | None = None  # where it is the best of several takes
    timings: Mapping[str, float] = field(compare=False)  # seconds per stage: its share of what its batch took
    start: float = 0.0  # seconds: where it lies in the joined waveform
    end: float = 0.0

    def __repr__(self) -> str:
        speaker = f", {self.piece.speaker}" if self.piece.speaker else ""
        span = f"{self.start:.2f} … {self.end:.2f} s"
        return f"SpokenPiece({excerpt(self.piece.text)}{speaker}, {span}, seed {self.seed})"


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
    # Seconds of work before the first samples; None if there were none.
    time_to_first_audio: float | None = field(default=None, compare=False)

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
        stages = dict.fromkeys(stage for piece in self.pieces for stage in piece.timings)
        return {stage: sum(piece.timings.get(stage, 0.0) for piece in self.pieces) for stage in stages}

    def clip(self, index: int) -> Generation:
        """A piece, as it is in the joined waveform, as a clip: to be played, or kept as a voice. Raises IndexError."""
        said = self.pieces[index]
        first, last = (round(seconds * self.sample_rate) for seconds in (said.start, said.end))
        return Generation(
            text=said.piece.text, seed=said.seed, sample_rate=self.sample_rate,
            waveform=self.waveform[first:last].copy(),  # a view would keep the whole speech in memory
            timings=said.timings, **said.tokens._asdict(),
        )  # fmt: skip

    def timeline(self, config: BarkConfig) -> Timeline:
        """The speech on one time axis, by the rates of the model that made it."""
        rates = {"semantic": config.semantic.rate_hz, "coarse": config.codec.frame_rate_hz}
        rates["fine"] = rates["coarse"]
        axis = {}
        for name, rate in rates.items():
            rows = getattr(Tokens.none(), name).shape[:-1]
            axis[name] = np.full((*rows, math.ceil(self.seconds * rate)), -1, np.int32)
            for said in self.pieces:
                heard = axis[name][..., round(said.start * rate) : round(said.end * rate)]
                array = getattr(said.tokens, name)
                heard[..., : array.shape[-1]] = array[..., : heard.shape[-1]]
        return Timeline(self.waveform, self.sample_rate, **axis)

    def __repr__(self) -> str:
        return (
            f"Speech({excerpt(self.text)}, {len(self.pieces)} pieces, {self.seconds:.2f} s at {self.sample_rate} Hz, "
            f"seed {self.seed})"
        )

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        facts = f"{self.seconds:.2f} s · {len(self.pieces)} pieces · seed {self.seed}"
        return self.player(f"{facts} · real-time factor {self.real_time_factor:.2f} · {self.text}")

    def save_pieces(self, folder: str | Path, suffix: str = ".wav") -> list[Path]:
        """Write every piece, as it is in the joined waveform, to `folder`/000.wav, 001.wav, …; returns the paths.

        The folder is made if there is none. Raises AudioError.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(f"cannot write into {folder}: {error}") from error
        paths = [folder / f"{index:03}{suffix}" for index in range(len(self.pieces))]
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
        return {
            "format": FORMAT,
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
            "seconds": self.seconds,
            "sample_rate": self.sample_rate,
            "time_to_first_audio": self.time_to_first_audio,
            "timings": self.timings,
            "seed": self.seed,
            "lead": self.lead,
            "join": dataclasses.asdict(self.join),
            "pieces": [_describe(said) for said in self.pieces],
        }

    def save_report(self, path: str | Path) -> None:
        """Write the report with all tokens, for `Bark.load_speech`: JSON, whole or not at all. Raises SpeechError."""
        voices = list({id(said.voice): said.voice for said in self.pieces if said.voice}.values())
        report = self.report()
        for described, said in zip(report["pieces"], self.pieces, strict=True):
            described["tokens"] = _write_tokens(said.tokens)
            described["voice_number"] = next((i for i, voice in enumerate(voices) if voice is said.voice), None)
        report["voices"] = [{"name": v.name, **_write_tokens(Tokens(v.semantic, v.coarse, v.fine))} for v in voices]
        try:
            with replacing(Path(path)) as temporary:
                temporary.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise SpeechError(f"cannot write the report {path}: {error}") from error

    @classmethod
    def load_report(cls, path: str | Path, config: BarkConfig) -> Self:
        """What `save_report` wrote, checked against the model, as a speech without audio. Raises SpeechError."""
        try:
            report = json.loads(Path(path).read_text(encoding="utf-8"))
            if report["format"] != FORMAT:
                raise ValueError(f"its format is {report['format']!r}, not {FORMAT!r}")
            check_seed(report["seed"])
            voices = [_read_voice(stored, config) for stored in report["voices"]]
            return cls(
                pieces=tuple(_read_piece(stored, voices, config) for stored in report["pieces"]),
                waveform=np.zeros(0, np.float32), sample_rate=config.codec.sample_rate, seed=report["seed"],
                lead=_seconds(report["lead"]), join=Join(**report["join"]),
            )  # fmt: skip
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            problem = f"there is no {error}" if isinstance(error, KeyError) else error
            raise SpeechError(f"cannot use the report {path}: {problem}") from error


def _describe(said: SpokenPiece) -> dict[str, Any]:
    return {
        **dataclasses.asdict(said.piece),
        "start": said.start,
        "end": said.end,
        "voice": said.voice and (said.voice.name or "unnamed"),
        "seed": said.seed,
        "take": said.take,
        "settings": dataclasses.asdict(said.settings),
        "score": said.score and dataclasses.asdict(said.score),
        "semantic_tokens": len(said.tokens.semantic),
        "frames": said.tokens.fine.shape[1],
        "timings": dict(said.timings),
    }


def _read_piece(stored: dict[str, Any], voices: list[Voice], config: BarkConfig) -> SpokenPiece:
    check_seed(stored["seed"])
    names = [field.name for field in dataclasses.fields(Piece)]
    piece = Piece(**{name: stored[name] for name in names})
    if not isinstance(piece.text, str) or not isinstance(piece.speaker, str | None):
        raise TypeError(f"a text or a speaker is not a string: {piece}")
    _seconds(piece.pause)
    number = stored["voice_number"]
    return SpokenPiece(
        piece=piece, voice=None if number is None else voices[number], seed=stored["seed"], take=int(stored["take"]),
        settings=Settings().replace(**stored["settings"]), tokens=_read_tokens(stored["tokens"], config),
        score=stored["score"] and Score(**stored["score"]),
        timings={stage: float(seconds) for stage, seconds in stored["timings"].items()},
    )  # fmt: skip


def _read_voice(stored: dict[str, Any], config: BarkConfig) -> Voice:
    voice = Voice(**_read_tokens(stored, config)._asdict(), name=stored["name"])
    voice.check(config)
    return voice


def _write_tokens(tokens: Tokens) -> dict[str, list[str]]:
    """Rows of numbers, each a string: one line of the file."""
    return {name: [" ".join(map(str, row)) for row in np.atleast_2d(array)] for name, array in tokens._asdict().items()}


def _read_tokens(stored: dict[str, list[str]], config: BarkConfig) -> Tokens:
    """Raises TokenError for what the model does not know."""
    rows = {name: np.array([row.split() for row in stored[name]], np.int64) for name in Tokens._fields}
    codebook = config.codec.codebook_size
    return Tokens(
        semantic=check_tokens(rows["semantic"], "semantic tokens", (1, None), config.semantic.vocab)[0],
        coarse=check_tokens(rows["coarse"], "coarse codes", (config.coarse.codebooks, None), codebook),
        fine=check_tokens(rows["fine"], "fine codes", (config.codec.codebooks, None), codebook),
    )


def _seconds(value: object) -> float:
    """A length of silence in a report."""
    if not isinstance(value, int | float) or not 0 <= value <= _MAX_SILENCE:
        raise ValueError(f"a silence must last 0 … {_MAX_SILENCE} seconds, not {value!r}")
    return float(value)
