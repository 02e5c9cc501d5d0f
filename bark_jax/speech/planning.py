"""What is decided before a long text is spoken, and who has which voice while it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.frontend import Frontend, VoiceSource
from bark_jax.generation import Tokens
from bark_jax.inputs import derive_seed, naming
from bark_jax.settings import Settings, SettingsError
from bark_jax.speech.cleaning import clean
from bark_jax.speech.delivery import FOR_CUTTING, Delivery
from bark_jax.speech.language import choose_language
from bark_jax.speech.record import make_folder
from bark_jax.speech.report import SpeechError, check_report_path, read_report
from bark_jax.speech.script import Piece, Script, write_script
from bark_jax.speech.spoken import SpokenPiece
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.voice import Voice

_FULL = 0.715  # share of a clip that a piece of a long text fills at most, as estimated: 11 of Bark's 15.4 s
MIN_VOICE = 0.5  # seconds of a piece that later ones take their voice from


@dataclass(frozen=True, kw_only=True)
class Job:
    """A text to be spoken, with all choices made and checked."""

    script: Script
    ids: Sequence[np.ndarray]  # of each piece's text
    voices: Mapping[str | None, Voice | None]  # of each speaker; None: whoever is not named
    seed: int
    settings: Settings
    delivery: Delivery
    report: Path | None  # written while the pieces are made
    folder: Path | None  # for a file of each piece
    kept: tuple[SpokenPiece, ...] = ()  # the first pieces, as an earlier run left them in the report


class Cast:
    """Which voice each speaker has by now."""

    def __init__(self, job: Job, config: BarkConfig) -> None:
        self.given = job.voices
        self.keep_voice = job.delivery.keep_voice
        self.shortest = MIN_VOICE * config.semantic.rate_hz  # semantic tokens of a voice
        self.own: dict[str | None, Voice] = {}  # those taken from the speakers' own pieces

    def voice(self, speaker: str | None) -> Voice | None:
        """What the speaker's next piece is spoken with."""
        return self.own.get(speaker) or self.given.get(speaker)

    def is_settled(self, speaker: str | None) -> bool:
        """Whether the speaker's next piece leaves the voice as it is."""
        if self.keep_voice == "rolling":
            return False
        return speaker in self.own or (self.keep_voice == "fixed" and self.given.get(speaker) is not None)

    def hear(self, index: int, speaker: str | None, tokens: Tokens) -> None:
        """The speaker has said a piece, which is a voice unless it is too short."""
        if len(tokens.semantic) >= self.shortest and not self.is_settled(speaker):
            self.own[speaker] = Voice(**tokens._asdict(), name=f"piece {index}")

    def count_ready(self, pieces: Sequence[Piece]) -> int:
        """How many of the pieces, from the first on, can be spoken side by side: each has its voice already."""
        changing = set()
        for count, piece in enumerate(pieces):
            if piece.speaker in changing:
                return count
            if not self.is_settled(piece.speaker):
                changing.add(piece.speaker)
        return len(pieces)


def find_speakers(frontend: Frontend, voices: Mapping[str, VoiceSource]) -> dict[str | None, Voice | None]:
    """The voice of each speaker. Raises VoiceError."""
    if not isinstance(voices, Mapping):
        raise VoiceError(f"voices must be a mapping of speakers to their voices, not {type(voices).__name__}")
    found: dict[str | None, Voice | None] = {}
    for speaker, source in voices.items():
        with naming(f"the voice of {speaker}"):
            found[speaker] = None if source is None else frontend.find_voice(source)
    return found


def cut_text(frontend: Frontend, text: str, cast: Mapping[str | None, Voice | None], delivery: Delivery) -> Script:
    """`Bark.cut`; the cast has the voices of the speakers, and the default one at None."""
    rules = frontend.config.semantic
    text = clean(text) if delivery.clean else text
    return write_script(
        text,
        count_tokens=frontend.reader.count,
        max_tokens=rules.max_text,
        # No piece is asked to be shorter than a second, whichever model it is for.
        max_seconds=max(1.0, _FULL * rules.max_new / rules.rate_hz),
        language=choose_language(delivery.language, cast.values(), text),
        speakers=[name for name in cast if name is not None],
        pauses=delivery.pauses,
    )


def plan(
    frontend: Frontend, text: str | Script, voice: VoiceSource, voices: Mapping[str, VoiceSource], seed: int | None,
    settings: Settings | None, overrides: Mapping[str, Any], report: str | Path | None = None,
    pieces: str | Path | None = None, model: str | None = None,
) -> Job:  # fmt: skip
    """Check and complete what `Bark.speak` was given, cut the text, encode it, and read what is there of it.

    model: the name of the one that will speak.
    """
    delivery, other = Delivery.split(overrides)
    report = None if report is None else Path(report)
    if report:
        check_report_path(report)
    stored = read_report(report, frontend.config) if report and report.exists() else None
    seed = stored.seed if seed is None and stored else seed
    options = frontend.options(voice, seed, settings, **other)
    cast = {None: options.voice, **find_speakers(frontend, voices)}
    if isinstance(text, Script) and (late := [name for name in FOR_CUTTING if name in overrides]):
        raise SettingsError(f"a script is cut already: give {', '.join(late)} to Bark.cut")
    script = text if isinstance(text, Script) else cut_text(frontend, text, cast, delivery)
    for name in script.voices:
        with naming(f"the voice {name} of the text"):
            cast[name] = frontend.find_voice(name)
    job = Job(
        script=script, ids=frontend.reader.encode(piece.text for piece in script.pieces),
        voices=cast, seed=options.seed, settings=options.settings, delivery=delivery, report=report,
        folder=None if pieces is None else make_folder(Path(pieces)),
    )  # fmt: skip
    if stored is None:
        return job
    theirs, ours = (name and Path(name).name for name in (stored.model, model))  # a folder may have been moved
    if theirs != ours:
        unnamed = "a model without a name"
        raise _other_speech(job, f"it was made by {stored.model or unnamed}, not by {model or unnamed}")
    return dataclasses.replace(job, kept=_keep(job, stored.pieces, frontend.config))


def _keep(job: Job, pieces: Sequence[SpokenPiece], config: BarkConfig) -> tuple[SpokenPiece, ...]:
    """The pieces of an earlier run, with today's pauses. Raises SpeechError if they are not those of this job."""
    if len(pieces) > len(job.script.pieces):
        raise _other_speech(job, f"it has {len(pieces)} pieces, this text {len(job.script.pieces)}")
    cast, kept = Cast(job, config), []
    for index, (said, piece) in enumerate(zip(pieces, job.script.pieces, strict=False)):
        voice = cast.voice(piece.speaker)
        same = {
            "text": said.piece.text == piece.text,
            "speaker": said.piece.speaker == piece.speaker,
            "voice": said.voice == voice,
            "seed": said.seed == derive_seed(job.seed, index, said.take),
            "settings": said.settings == job.settings,
            "number of takes": said.takes == job.delivery.best_of,
        }
        if not all(same.values()):
            differing = ", ".join(name for name, agrees in same.items() if not agrees)
            raise _other_speech(job, f"its piece {index} has another {differing}")
        cast.hear(index, piece.speaker, said.tokens)
        kept.append(dataclasses.replace(said, piece=piece, voice=voice))
    return tuple(kept)


def _other_speech(job: Job, problem: str) -> SpeechError:
    advice = "give another file, or start over (--force, or delete it)"
    return SpeechError(f"the report {job.report} is of another speech: {problem}; {advice}")
