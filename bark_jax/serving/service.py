"""From a request to its audio: planned in a thread, worked on by the scheduler, listened to in the event loop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from bark_jax.audio import Waveform
from bark_jax.bark import Bark
from bark_jax.errors import BarkError
from bark_jax.hearing.clips import time_speech
from bark_jax.hearing.word_files import words_json
from bark_jax.serving.collecting import collecting
from bark_jax.serving.config import ServerConfig
from bark_jax.serving.encoding import check_format
from bark_jax.serving.errors import ApiError
from bark_jax.serving.logs import log
from bark_jax.serving.metrics import Metrics
from bark_jax.serving.requests import SpeechRequest, voice_name
from bark_jax.serving.scheduler import Scheduler
from bark_jax.serving.tickets import Finished, Inbox, Left, Ticket
from bark_jax.serving.voices import NamedVoices
from bark_jax.speech import subtitles
from bark_jax.speech.performing import Performance
from bark_jax.speech.planning import Job, plan
from bark_jax.speech.speech import Speech
from bark_jax.text import TextError
from bark_jax.voices.errors import VoiceError

T = TypeVar("T")

_MAX_SILENCE = 300.0  # seconds of pause marks in one text


class ClientLeft(Exception):
    """Nobody waits for the answer."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A text that can be spoken."""

    request: SpeechRequest
    job: Job
    notes: tuple[str, ...]  # what was dropped, ignored or replaced of what the client gave

    @property
    def whole(self) -> bool:
        """Whether nothing is sent before the end: one clip is made whole anyway, and FLAC begins with its length."""
        return self.request.wait or len(self.job.script.pieces) == 1 or self.request.response_format == "flac"

    @property
    def input_tokens(self) -> int:
        return sum(map(len, self.job.ids))


class Service:
    """A model, its scheduler and its limits."""

    def __init__(self, bark: Bark, config: ServerConfig, scheduler: Scheduler, metrics: Metrics) -> None:
        self.bark, self.config, self.scheduler, self.metrics = bark, config, scheduler, metrics
        self.frontend = NamedVoices.of(bark)
        self.model = bark.engine.name or "bark"
        self.sample_rate = bark.config.codec.sample_rate
        self.started = int(time.time())
        self._tasks: set[asyncio.Task[None]] = set()
        self._beside = asyncio.Lock()

    def plan(self, request: SpeechRequest) -> Planned:
        """Check and cut a text. Raises ApiError for all that is wrong with it."""
        self._check(request)
        with collecting() as warned:
            try:
                job = plan(
                    self.frontend, request.input, voice_name(request.voice), request.cast(), request.seed, None,
                    request.overrides(),
                )  # fmt: skip
            except BarkError as error:
                raise self._refusal(error) from error
        if job.script.lead + sum(piece.pause for piece in job.script.pieces) > _MAX_SILENCE:
            raise ApiError(400, f"the pauses of a text may last {_MAX_SILENCE:.0f} s in all", param="input")
        notes = [self.frontend.without_paths(message) for message in warned]
        if request.instructions:
            notes.insert(0, "instructions are ignored: this model takes none")
        return Planned(request=request, job=job, notes=tuple(notes))

    def _check(self, request: SpeechRequest) -> None:
        names = (self.model, self.model.rstrip("/").rpartition("/")[2], *self.config.aliases)
        if request.model is not None and request.model not in names:
            message = f"there is no model {request.model[:100]!r} here: GET /v1/models lists those there are"
            raise ApiError(404, message, param="model", code="model_not_found")
        if not request.input.strip():
            raise ApiError(400, "input is empty: give it a text", param="input")
        if len(request.input) > self.config.max_characters:
            message = f"input has {len(request.input)} characters; this server takes {self.config.max_characters}"
            raise ApiError(400, message, param="input", code="string_above_max_length")
        check_format(request.response_format, self.sample_rate, request.speed)

    async def beside(self, work: Callable[[], T]) -> T:
        """Short work of the networks in a thread beside the scheduler's, one at a time.

        Raises BarkError as the work does, and ApiError for what it should not raise.
        """
        async with self._beside:
            try:
                return await run_in_threadpool(work)
            except BarkError:
                raise
            except Exception as error:
                log("work beside the batches failed", level=logging.ERROR, error=error)
                raise ApiError(500, "the model failed; the server's log has more") from error

    def _refusal(self, error: BarkError) -> ApiError:
        param = "input" if isinstance(error, TextError) else "voice" if isinstance(error, VoiceError) else None
        message = " ".join([str(error), *getattr(error, "__notes__", ())])
        return ApiError(400, self.frontend.without_paths(message), param=param)

    async def plan_soon(self, request: SpeechRequest) -> Planned:
        """`plan` in a thread."""
        return await run_in_threadpool(self.plan, request)

    def submit(self, planned: Sequence[Planned], request: Request) -> list["Listener"]:
        """Hand texts to the scheduler, all or none; they are dropped when the client leaves. Raises ApiError."""
        tickets = [
            Ticket(
                id=request.state.id, performance=Performance(self.bark.engine, own.job), inbox=Inbox(),
                sample_rate=self.sample_rate, speed=own.request.speed,
            )
            for own in planned
        ]  # fmt: skip
        self.scheduler.submit(tickets)
        task = asyncio.create_task(self._watch(request, tickets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return [Listener(self, ticket, own) for ticket, own in zip(tickets, planned, strict=True)]

    async def _watch(self, request: Request, tickets: Sequence[Ticket]) -> None:
        """Until the answer is complete, or its client has gone."""
        with contextlib.suppress(Exception):
            while (await request.receive())["type"] != "http.disconnect":
                pass
        for ticket in tickets:
            if not ticket.done:
                self.scheduler.cancel(ticket)
                ticket.inbox.put(Left())


class Listener:
    """The audio of one text, as it is made. Leaving the context drops what has not been made."""

    def __init__(self, service: Service, ticket: Ticket, planned: Planned) -> None:
        self.service, self.ticket, self.planned = service, ticket, planned
        self.finished: Finished | None = None
        self._deadline = asyncio.get_running_loop().time() + service.config.deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ticket.done:
            self.service.scheduler.cancel(self.ticket)

    async def samples(self) -> AsyncIterator[Waveform]:
        """Float32 [any] each. Raises ApiError for a deadline or a crash, ClientLeft."""
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    event = await self.ticket.inbox.take()
            except TimeoutError as error:
                message = (
                    f"the text was not spoken within {self.service.config.deadline:g} s: try a shorter one, or later"
                )
                raise ApiError(504, message, code="deadline") from error
            if isinstance(event, Finished):
                self.finished = event
                return
            if isinstance(event, Left):
                raise ClientLeft
            if isinstance(event, Exception):
                raise event
            self.service.scheduler.taken(self.ticket, len(event) / self.ticket.sample_rate)
            yield event

    def notes(self) -> list[str]:
        """What the client should know; of empty pieces only at the end."""
        empty = self.finished.empty if self.finished else 0
        spoken = [f"the model made no audio for {empty} of the pieces: try another seed"] if empty else []
        return [*self.planned.notes, *spoken]

    def usage(self) -> dict[str, int]:
        """Tokens of the text and of the speech."""
        made = sum(len(said.tokens.semantic) for said in self.ticket.performance.pieces)
        read = self.planned.input_tokens
        return {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}

    def srt(self) -> str:
        """Subtitles of what has been spoken, at the speed it is played."""
        speed = self.ticket.speed
        return subtitles.srt(
            subtitles.Cue(
                start=said.start / speed, end=said.end / speed, text=said.piece.text, speaker=said.piece.speaker
            )
            for said in self.ticket.performance.pieces
        )

    async def extras(self) -> dict[str, Any]:
        """What the request asked for beside the audio: `words` and `tokens`. Raises ApiError."""
        request, service, job = self.planned.request, self.service, self.planned.job
        samples = np.zeros(round(self.ticket.sent * service.sample_rate), np.float32)  # only their number matters
        speech = Speech(
            pieces=tuple(self.ticket.performance.pieces), waveform=samples, sample_rate=service.sample_rate,
            seed=job.seed, lead=job.script.lead, join=job.delivery.join,
        )  # fmt: skip
        extras: dict[str, Any] = {}
        if request.word_times:
            timed = await service.beside(
                partial(time_speech, service.bark.engine, service.frontend, speech, request.input)
            )
            extras["words"] = [
                {**word, "start": word["start"] / request.speed, "end": word["end"] / request.speed}
                for word in words_json(timed.words or ())
            ]
        if request.tokens:
            axis = speech.timeline(service.bark.config)
            extras["tokens"] = {name: getattr(axis, name).tolist() for name in ("semantic", "coarse", "fine")}
        return extras

    def facts(self) -> Mapping[str, Any]:
        """For the log."""
        request, ticket = self.planned.request, self.ticket
        first = ticket.first_audio
        text = {"text": request.input} if self.service.config.log_text else {}
        return {
            "characters": len(request.input), "pieces": len(self.planned.job.script.pieces),
            "seed": self.planned.job.seed, "voice": voice_name(request.voice), "format": request.response_format,
            "audio_seconds": round(ticket.seconds, 3), "underruns": ticket.underruns,
            "first_audio_seconds": first and round(first - ticket.arrived, 3), **text,
        }  # fmt: skip
