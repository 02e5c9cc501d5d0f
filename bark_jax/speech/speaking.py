"""A long text → pieces spoken in batches → one waveform: the work behind `Bark.speak` and `Bark.stream`.

Pieces are made batch by batch and joined in order, so that memory holds one batch at a time, and tokens.
"""

import dataclasses
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from bark_jax.engine import Engine
from bark_jax.frontend import Frontend, VoiceSource
from bark_jax.generation import Tokens, warn_if_empty
from bark_jax.inputs import Options, derive_seed, naming
from bark_jax.settings import Settings
from bark_jax.speech.delivery import Delivery
from bark_jax.speech.joining import Join, Joiner
from bark_jax.speech.ranking import Score, score_takes
from bark_jax.speech.script import Piece, Script
from bark_jax.speech.speech import Speech, SpeechError, SpokenPiece
from bark_jax.speech.streaming import AHEAD, Check, Part, Stream
from bark_jax.stages.progress import StageProgress
from bark_jax.text import normalize
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.voice import Voice

T = TypeVar("T")

MIN_VOICE = 0.5  # seconds of a piece that later ones take their voice from
PIECES = "pieces"  # what progress calls the pieces that are done


@dataclass(frozen=True, kw_only=True)
class Job:
    """A text to be spoken, with all choices made and checked."""

    script: Script
    ids: Sequence[np.ndarray]  # of each piece's text
    voices: Mapping[str | None, Voice | None]  # of each speaker; None: whoever is not named
    seed: int
    settings: Settings
    delivery: Delivery


class Cast:
    """Which voice each speaker has by now."""

    def __init__(self, job: Job) -> None:
        self.given = job.voices
        self.keep_voice = job.delivery.keep_voice
        self.own: dict[str | None, Voice] = {}  # those taken from the speakers' own pieces

    def voice(self, speaker: str | None) -> Voice | None:
        """What the speaker's next piece is spoken with."""
        return self.own.get(speaker) or self.given.get(speaker)

    def is_settled(self, speaker: str | None) -> bool:
        """Whether the speaker's next piece leaves his voice as it is."""
        if self.keep_voice == "rolling":
            return False
        return speaker in self.own or (self.keep_voice == "fixed" and self.given.get(speaker) is not None)

    def hear(self, speaker: str | None, voice: Voice | None) -> None:
        """The speaker has said a piece; its voice, unless it is too short to be one."""
        if voice is not None and not self.is_settled(speaker):
            self.own[speaker] = voice

    def count_ready(self, pieces: Sequence[Piece]) -> int:
        """How many of the pieces, from the first on, can be spoken side by side: each has its voice already."""
        changing = set()
        for count, piece in enumerate(pieces):
            if piece.speaker in changing:
                return count
            if not self.is_settled(piece.speaker):
                changing.add(piece.speaker)
        return len(pieces)


def plan(
    frontend: Frontend, text: str, voice: VoiceSource, voices: Mapping[str, VoiceSource], seed: int | None,
    settings: Settings | None, overrides: Mapping[str, Any],
) -> Job:  # fmt: skip
    """Check and complete what `Bark.speak` was given, cut the text and encode it."""
    if not isinstance(voices, Mapping):
        raise VoiceError(f"voices must be a mapping of speakers to their voices, not {type(voices).__name__}")
    delivery, other = Delivery.split(overrides)
    options = frontend.options(voice, seed, settings, **other)
    cast: dict[str | None, Voice | None] = {None: options.voice}
    for speaker, source in voices.items():
        with naming(f"the voice of {speaker}"):
            cast[speaker] = frontend.find_voice(source)
    script = frontend.cut(text, language=delivery.language, speakers=voices.keys(), pauses=delivery.pauses)
    return Job(
        script=script, ids=[frontend.encode(piece.text) for piece in script.pieces],
        voices=cast, seed=options.seed, settings=options.settings, delivery=delivery,
    )  # fmt: skip


def start_stream(engine: Engine, job: Job, progress: StageProgress | None, *, ahead: int = AHEAD) -> Stream:
    """A stream of the text; ahead 0: without a thread."""
    finish = partial(Speech, seed=job.seed, lead=job.script.lead, join=job.delivery.join)
    return Stream(partial(_speak, engine, job, progress), finish, engine.config.codec.sample_rate, ahead=ahead)


def join_again(engine: Engine, speech: Speech, pieces: Sequence[SpokenPiece]) -> Speech:
    """The speech with other pieces: all are decoded and joined as they were when it was made."""
    finish = partial(Speech, seed=speech.seed, lead=speech.lead, join=speech.join)
    stream = Stream(lambda _: _render(engine, pieces, speech.lead, speech.join), finish, speech.sample_rate, ahead=0)
    again = stream.speech(list(stream))
    return dataclasses.replace(again, time_to_first_audio=speech.time_to_first_audio)


def respeak(
    engine: Engine, frontend: Frontend, speech: Speech, index: int, text: str | None, seed: int | None,
    settings: Settings | None, overrides: Mapping[str, Any], progress: StageProgress | None,
) -> Speech:  # fmt: skip
    """`Bark.respeak`."""
    if not isinstance(index, int) or not 0 <= index < len(speech.pieces):
        raise SpeechError(f"there is no piece {index!r}: the speech has pieces 0 … {len(speech.pieces) - 1}")
    said = speech.pieces[index]
    piece = said.piece if text is None else dataclasses.replace(said.piece, text=normalize(text))
    take = said.take + 1
    seed = derive_seed(speech.seed, index, take) if seed is None else seed
    options = frontend.options(said.voice, seed, settings or said.settings, **overrides)
    ids = frontend.encode(piece.text)
    (tokens,), timings = engine.generate_tokens([ids], [options], progress)
    again = SpokenPiece(
        piece=piece, voice=options.voice, seed=seed, take=take, settings=options.settings, tokens=tokens,
        timings=timings,
    )  # fmt: skip
    warn_if_empty(tokens.semantic, f"piece {index} (seed {seed})", stacklevel=3)
    return join_again(engine, speech, [*speech.pieces[:index], again, *speech.pieces[index + 1 :]])


def _speak(engine: Engine, job: Job, progress: StageProgress | None, check: Check | None) -> Generator[Part]:
    """Speak a text and join its pieces. check: called as often as progress, to end the work by raising."""
    total, done = len(job.script.pieces), 0

    def watch(stage: str, done: int, total: int) -> None:
        if check:
            check()
        if progress:
            progress(stage, done, total)

    watch(PIECES, done, total)
    pieces = _perform(engine, job, watch if check or progress else None)
    for part in _render(engine, pieces, job.script.lead, job.delivery.join):
        yield part
        if part.piece is not None:
            done += 1
            watch(PIECES, done, total)


def _perform(engine: Engine, job: Job, progress: StageProgress | None) -> Iterator[SpokenPiece]:
    """Speak the pieces of a text, in order; they are not joined yet."""
    cast, pieces, done = Cast(job), job.script.pieces, 0
    while done < len(pieces):
        ready = cast.count_ready(pieces[done : done + job.delivery.pieces_at_once])
        batch = range(done, done + ready)
        for index, said in zip(batch, _speak_batch(engine, job, cast, batch, progress), strict=True):
            cast.hear(said.piece.speaker, _as_voice(engine, said.tokens, index))
            yield said
        done += ready


def _render(engine: Engine, pieces: Iterable[SpokenPiece], lead: float, join: Join) -> Generator[Part]:
    """Decode pieces, and join them, second by second."""
    sample_rate = engine.config.codec.sample_rate
    joiner = Joiner(join, sample_rate, lead)
    for said in pieces:
        seconds, started = 0.0, time.perf_counter()
        for samples in engine.decode_pieces(said.tokens.fine):
            seconds += time.perf_counter() - started
            yield Part(joiner.push(samples))
            started = time.perf_counter()  # what is done with the samples is not the codec's time
        samples, (first, end) = joiner.end_piece(said.piece.pause)
        timings = {**said.timings, "codec": seconds}
        placed = dataclasses.replace(said, start=first / sample_rate, end=end / sample_rate, timings=timings)
        yield Part(samples, placed)
    yield Part(joiner.finish())


def _speak_batch(
    engine: Engine, job: Job, cast: Cast, indices: range, progress: StageProgress | None
) -> list[SpokenPiece]:
    """Speak some pieces side by side, each as often as the delivery says, and take the best of each."""
    takes = job.delivery.best_of
    rows = [(index, take) for index in indices for take in range(takes)]
    options = [
        Options(
            voice=cast.voice(job.script.pieces[index].speaker), seed=derive_seed(job.seed, index, take),
            settings=job.settings,
        )
        for index, take in rows
    ]  # fmt: skip
    # Always as many rows, so that no length of text compiles anew; but one row for a lone piece, which others wait for.
    room = takes * (1 if len(indices) == 1 else job.delivery.pieces_at_once)
    ids = _fill([job.ids[index] for index, _ in rows], room)
    tokens, scores, timings = _speak_rows(engine, ids, _fill(options, room), progress, scored=takes > 1)
    said = []
    for first in range(0, len(rows), takes):
        best = max(range(first, first + takes), key=lambda row: scores[row].total) if scores else first
        index, take = rows[best]
        said.append(
            SpokenPiece(
                piece=job.script.pieces[index], voice=options[best].voice, seed=options[best].seed, take=take,
                settings=job.settings, tokens=tokens[best], score=scores[best] if scores else None,
                timings={stage: seconds / len(indices) for stage, seconds in timings.items()},
            )
        )  # fmt: skip
        warn_if_empty(tokens[best].semantic, f"piece {index} (seed {options[best].seed})", stacklevel=2)
    return said


def _speak_rows(
    engine: Engine, ids: Sequence[np.ndarray], options: Sequence[Options], progress: StageProgress | None,
    *, scored: bool,
) -> tuple[list[Tokens], list[Score], dict[str, float]]:  # fmt: skip
    """A batch: its tokens; their scores, if asked for; seconds per stage."""
    tokens, timings = engine.generate_tokens(ids, options, progress)
    if not scored:
        return tokens, [], timings
    started = time.perf_counter()
    scores = score_takes(
        engine, ids, options, [made.semantic for made in tokens], (engine.decode(t.fine) for t in tokens)
    )
    return tokens, scores, {**timings, "ranking": time.perf_counter() - started}


def _fill(rows: Sequence[T], count: int) -> list[T]:
    """The rows, and copies of the first until there are so many."""
    return [*rows, *list(rows[:1]) * (count - len(rows))]


def _as_voice(engine: Engine, tokens: Tokens, index: int) -> Voice | None:
    """A piece as the voice of later ones; None if it is too short to be one."""
    if len(tokens.semantic) < MIN_VOICE * engine.config.semantic.rate_hz:
        return None
    return Voice(**tokens._asdict(), name=f"piece {index}")
