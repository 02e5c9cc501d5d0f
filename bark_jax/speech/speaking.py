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
    for said, decoded in pieces:
        seconds, started = 0.0, time.perf_counter()
        for samples in engine.decode_pieces(said.tokens.fine) if decoded is None else decoded:
            seconds += time.perf_counter() - started
            yield Part(joiner.push(samples))
            started = time.perf_counter()  # what is done with the samples is not the codec's time
        samples, (first, end) = joiner.end_piece(said.piece.pause)
        timings = {**said.timings, "codec": seconds}
        placed = dataclasses.replace(said, start=first / sample_rate, end=end / sample_rate, timings=timings)
        yield Part(samples, placed)
    yield Part(joiner.finish())


def _speak_batch(
    engine: Engine, job: Job, cast: Cast, indices: range, rows: int, progress: StageProgress | None
) -> list[Made]:
    """Speak some pieces side by side, each as often as the delivery says, and take the best of each."""
    takes, made = job.delivery.best_of, []
    ids = [job.ids[index] for index in indices for _ in range(takes)]
    options = [
        Options(
            voice=cast.voice(job.script.pieces[index].speaker), seed=derive_seed(job.seed, index, take),
            settings=job.settings,
        )
        for index in indices for take in range(takes)
    ]  # fmt: skip
    tokens, timings = _speak_rows(engine, ids, options, rows, progress)
    for first, index in zip(range(0, len(ids), takes), indices, strict=True):
        own, started = slice(first, first + takes), time.perf_counter()
        take, score, samples = 0, None, None
        seconds = {stage: seconds / len(indices) for stage, seconds in timings.items()}
        if takes > 1:
            take, score, samples = best_take(engine, ids[own], options[own], tokens[own], rows)
            seconds["ranking"] = time.perf_counter() - started
        best, chosen = tokens[own][take], options[own][take]
        said = SpokenPiece(
            piece=job.script.pieces[index], voice=chosen.voice, seed=chosen.seed, take=take, takes=takes,
            settings=job.settings, tokens=best, score=score, timings=seconds,
        )  # fmt: skip
        warn_if_empty(best.semantic, f"piece {index} (seed {chosen.seed})", stacklevel=2)
        made.append(Made(said, samples))
    return made


def _speak_rows(
    engine: Engine, ids: Sequence[np.ndarray], options: Sequence[Options], rows: int, progress: StageProgress | None
) -> tuple[list[Tokens], dict[str, float]]:
    """The tokens of any number of items, made in batches of at most `rows`, and the seconds of each stage."""
    tokens, timings = [], []
    for own in batches(list(zip(ids, options, strict=True)), rows):
        size = min(rows, 1 << (len(own) - 1).bit_length())  # few sizes, as each compiles programs of its own
        rows_ids, rows_options = zip(*_fill(own, size), strict=True)
        made, seconds = engine.generate_tokens(rows_ids, rows_options, progress)
        tokens += made[: len(own)]
        timings.append(seconds)
    return tokens, sum_timings(timings)


def _fill(rows: Sequence[T], count: int) -> list[T]:
    """The rows, and copies of the first until there are as many as asked for."""
    return [*rows, *list(rows[:1]) * (count - len(rows))]
