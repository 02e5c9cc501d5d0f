"""A long text → pieces spoken in batches → one waveform: the work behind `Bark.speak` and `Bark.stream`.

Pieces are made batch by batch and joined in order, so that memory holds one batch at a time, and tokens.
"""

import dataclasses
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bark_jax.audio import Waveform
from bark_jax.engine import Engine
from bark_jax.frontend import Frontend
from bark_jax.generation import Tokens, warn_if_empty
from bark_jax.inputs import Options, derive_seed
from bark_jax.settings import Settings
from bark_jax.speech.joining import Join, Joiner
from bark_jax.speech.planning import Cast, Job
from bark_jax.speech.ranking import batches, best_take
from bark_jax.speech.record import Record
from bark_jax.speech.report import SpeechError
from bark_jax.speech.speech import Speech
from bark_jax.speech.spoken import Part, SpokenPiece, sum_timings
from bark_jax.speech.streaming import AHEAD, Check, Stream
from bark_jax.stages.progress import StageProgress
from bark_jax.text import normalize
from bark_jax.voices.names import NO_VOICE

T = TypeVar("T")

PIECES = "pieces"  # what progress calls the pieces that are done


class Made(NamedTuple):
    """A piece that is to be joined."""

    said: SpokenPiece
    samples: Sequence[Waveform] | None = None  # its audio, if it has been decoded already


class Take(NamedTuple):
    """What one take of a piece is made from."""

    ids: np.ndarray
    options: Options


def start_stream(engine: Engine, job: Job, progress: StageProgress | None, *, ahead: int = AHEAD) -> Stream:
    """A stream of the text; ahead 0: without a thread, and with a full batch first."""
    finish = partial(Speech, seed=job.seed, lead=job.script.lead, join=job.delivery.join, model=engine.name)
    work = partial(_speak, engine, job, progress, hurry=ahead > 0)
    return Stream(work, finish, engine.config.codec.sample_rate, ahead=ahead)


def join_again(engine: Engine, speech: Speech, pieces: Sequence[SpokenPiece]) -> Speech:
    """The speech with other pieces: all are decoded and joined as they were when it was made."""
    finish = partial(Speech, seed=speech.seed, lead=speech.lead, join=speech.join, model=speech.model)
    parts = partial(_render, engine, map(Made, pieces), speech.lead, speech.join)
    stream = Stream(lambda _: parts(), finish, speech.sample_rate, ahead=0)
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
    options = frontend.options(said.voice or NO_VOICE, seed, settings or said.settings, **overrides)
    ids = frontend.encode(piece.text)
    (tokens,), timings = engine.generate_tokens([ids], [options], progress)
    again = SpokenPiece(
        piece=piece, voice=options.voice, seed=seed, take=take, settings=options.settings, tokens=tokens,
        timings=timings,
    )  # fmt: skip
    warn_if_empty(tokens.semantic, f"piece {index} (seed {seed})", stacklevel=3)
    return join_again(engine, speech, [*speech.pieces[:index], again, *speech.pieces[index + 1 :]])


def _speak(
    engine: Engine, job: Job, progress: StageProgress | None, check: Check | None, *, hurry: bool
) -> Generator[Part]:
    """Speak a text, join its pieces and record them. check: called as often as progress, to end the work by raising."""
    total, done, lead, join = len(job.script.pieces), 0, job.script.lead, job.delivery.join

    def watch(stage: str, done: int, total: int) -> None:
        if check:
            check()
        if progress:
            progress(stage, done, total)

    watch(PIECES, done, total)
    pieces = _perform(engine, job, watch if check or progress else None, hurry=hurry)
    rate, kept, facts = engine.config.codec.sample_rate, len(job.kept), {"seed": job.seed, "model": engine.name}
    with Record(job.report, job.folder, rate, kept=kept, lead=lead, join=join, **facts) as record:
        for part in _render(engine, pieces, lead, join):
            record.push(part)
            yield part
            if part.piece is not None:
                done += 1
                watch(PIECES, done, total)


def _perform(engine: Engine, job: Job, progress: StageProgress | None, *, hurry: bool) -> Iterator[Made]:
    """Speak the pieces of a text, in order; they are not joined yet. hurry: the first one alone, to be heard soon."""
    cast, pieces, done = Cast(job, engine.config), job.script.pieces, len(job.kept)
    for index, said in enumerate(job.kept):
        cast.hear(index, said.piece.speaker, said.tokens)
        yield Made(said)
    rows = job.delivery.batch_size or engine.batch_size
    while done < len(pieces):
        most = 1 if hurry and not done else max(1, rows // job.delivery.best_of)
        batch = range(done, done + cast.count_ready(pieces[done : done + most]))
        for index, made in zip(batch, _speak_batch(engine, job, cast, batch, rows, progress), strict=True):
            cast.hear(index, made.said.piece.speaker, made.said.tokens)
            yield made
        done = batch.stop


def _render(engine: Engine, pieces: Iterable[Made], lead: float, join: Join) -> Generator[Part]:
    """Decode pieces, and join them, second by second."""
    sample_rate = engine.config.codec.sample_rate
    joiner = Joiner(join, sample_rate, lead)
    for made in pieces:
        yield from render_piece(engine, joiner, made)
    yield Part(joiner.finish())


def render_piece(engine: Engine, joiner: Joiner, made: Made) -> Generator[Part]:
    """Decode one piece, and join it to those before it, second by second; the last part has the piece."""
    (said, decoded), sample_rate = made, engine.config.codec.sample_rate
    seconds, started = 0.0, time.perf_counter()
    for samples in engine.decode_pieces(said.tokens.fine) if decoded is None else decoded:
        seconds += time.perf_counter() - started
        yield Part(joiner.push(samples))
        started = time.perf_counter()  # what is done with the samples is not the codec's time
    samples, (first, end) = joiner.end_piece(said.piece.pause)
    timings = {**said.timings, "codec": seconds}
    yield Part(samples, dataclasses.replace(said, start=first / sample_rate, end=end / sample_rate, timings=timings))


def _speak_batch(
    engine: Engine, job: Job, cast: Cast, indices: range, rows: int, progress: StageProgress | None
) -> list[Made]:
    """Speak some pieces side by side, each as often as the delivery says, and take the best of each."""
    takes = [make_takes(job, cast, index) for index in indices]
    rows_of_all = [row for own in takes for row in own]
    ids, options = zip(*rows_of_all, strict=True)
    tokens, timings = _speak_rows(engine, ids, options, rows, progress)
    seconds = {stage: seconds / len(indices) for stage, seconds in timings.items()}
    made, count = [], job.delivery.best_of
    for number, index in enumerate(indices):
        own = tokens[number * count : (number + 1) * count]
        made.append(choose_take(engine, job, index, takes[number], own, rows, seconds))
        warn_if_empty(made[-1].said.tokens.semantic, f"piece {index} (seed {made[-1].said.seed})", stacklevel=2)
    return made


def make_takes(job: Job, cast: Cast, index: int) -> list[Take]:
    """What a piece is made from, as often as the delivery says."""
    voice = cast.voice(job.script.pieces[index].speaker)
    seeds = (derive_seed(job.seed, index, take) for take in range(job.delivery.best_of))
    return [Take(job.ids[index], Options(voice=voice, seed=seed, settings=job.settings)) for seed in seeds]


def choose_take(
    engine: Engine, job: Job, index: int, takes: Sequence[Take], tokens: Sequence[Tokens], rows: int,
    timings: Mapping[str, float],
) -> Made:  # fmt: skip
    """The best take of a piece. rows: that are ranked side by side; timings: what the piece took, without ranking."""
    take, score, samples, started = 0, None, None, time.perf_counter()
    if len(takes) > 1:
        ids, options = zip(*takes, strict=True)
        take, score, samples = best_take(engine, ids, options, tokens, rows)
        timings = {**timings, "ranking": time.perf_counter() - started}
    chosen = takes[take].options
    said = SpokenPiece(
        piece=job.script.pieces[index], voice=chosen.voice, seed=chosen.seed, take=take, takes=len(takes),
        settings=job.settings, tokens=tokens[take], score=score, timings=dict(timings),
    )  # fmt: skip
    return Made(said, samples)


def _speak_rows(
    engine: Engine, ids: Sequence[np.ndarray], options: Sequence[Options], rows: int, progress: StageProgress | None
) -> tuple[list[Tokens], dict[str, float]]:
    """The tokens of any number of items, made in batches of at most `rows`, and the seconds of each stage."""
    tokens, timings = [], []
    for own in batches(list(zip(ids, options, strict=True)), rows):
        size = min(rows, 1 << (len(own) - 1).bit_length())  # few sizes, as each compiles programs of its own
        rows_ids, rows_options = zip(*fill(own, size), strict=True)
        made, seconds = engine.generate_tokens(rows_ids, rows_options, progress)
        tokens += made[: len(own)]
        timings.append(seconds)
    return tokens, sum_timings(timings)


def fill(rows: Sequence[T], count: int) -> list[T]:
    """The rows, and copies of the first until there are as many as asked for."""
    return [*rows, *list(rows[:1]) * (count - len(rows))]
