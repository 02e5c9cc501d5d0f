"""`POST /v1/audio/speech` and its batches: audio of one format, in one piece, as it is made, or as events."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from bark_jax.serving.encoding import FORMATS, Encoder
from bark_jax.serving.errors import ApiError, describe_invalid
from bark_jax.serving.requests import BatchRequest, SpeechRequest
from bark_jax.serving.service import ClientLeft, Listener, Planned, Service

_MAX_NOTES = 2000  # bytes of a header

Answers = dict[int | str, dict[str, Any]]
AUDIO: Answers = {200: {"content": {form.media_type: {} for form in FORMATS.values()} | {"text/event-stream": {}}}}


class Aborted(Exception):
    """An answer that has begun and cannot be completed: the connection is closed."""


def router(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/audio")

    @routes.post("/speech", responses=AUDIO, response_class=Response)
    async def create_speech(body: SpeechRequest, request: Request) -> Response:
        """Speak a text of any length; the audio begins when its first piece is made."""
        if body.stream_format == "audio" and (body.word_times or body.tokens):
            name = "word_times" if body.word_times else "tokens"
            raise ApiError(400, f"{name}: audio cannot carry them; ask for stream_format sse, or for a batch", name)
        planned = await service.plan_soon(body)
        (listener,) = service.submit([planned], request)
        request.state.listeners = [listener]
        return await _answer(listener)

    @routes.post("/speech/batch")
    async def create_batch(body: BatchRequest, request: Request) -> JSONResponse:
        """Speak several texts side by side. An error in one item is that item's answer alone."""
        return JSONResponse({"object": "list", "data": await _batch(service, body, request)})

    return routes


async def _answer(listener: Listener) -> Response:
    request = listener.planned.request
    try:
        encoder = Encoder(
            request.response_format, listener.service.sample_rate, request.speed, whole=listener.planned.whole
        )
        chunks = _encoded(listener, encoder)
        if listener.planned.whole and request.stream_format == "audio":
            data = b"".join([chunk async for chunk in chunks])
            headers = {**_headers(listener), "Bark-Audio-Seconds": f"{encoder.seconds:.3f}"}
            return Response(data, headers=headers, media_type=FORMATS[request.response_format].media_type)
        first = await anext(chunks)  # what fails before it has an answer of its own
    except BaseException:
        listener.__exit__()
        raise
    if request.stream_format == "sse":
        return StreamingResponse(
            _events(listener, first, chunks, encoder), headers=_headers(listener), media_type="text/event-stream"
        )
    return StreamingResponse(
        _stream(listener, first, chunks),
        headers=_headers(listener),
        media_type=FORMATS[request.response_format].media_type,
    )


async def _encoded(listener: Listener, encoder: Encoder) -> AsyncIterator[bytes]:
    """Bytes as they become certain, and those of the end, which may be none."""
    with listener:
        async for samples in listener.samples():
            if chunk := await run_in_threadpool(encoder.push, samples):
                yield chunk
        yield await run_in_threadpool(encoder.finish)


async def _stream(listener: Listener, first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    with listener:
        try:
            yield first
            async for chunk in rest:
                yield chunk
        except ApiError as error:
            raise Aborted(error.message) from error
        except ClientLeft:
            return


async def _events(listener: Listener, first: bytes, rest: AsyncIterator[bytes], encoder: Encoder) -> AsyncIterator[str]:
    def event(kind: str, **facts: Any) -> str:
        return f"data: {json.dumps({'type': f'speech.audio.{kind}', **facts})}\n\n"

    with listener:
        try:
            yield event("delta", audio=base64.b64encode(first).decode())
            async for chunk in rest:
                if chunk:
                    yield event("delta", audio=base64.b64encode(chunk).decode())
            extras = await listener.extras()
        except ApiError as error:
            yield event("error", **error.body())
            return
        except ClientLeft:
            return
        yield event(
            "done", usage=listener.usage(), seed=listener.planned.job.seed, seconds=round(encoder.seconds, 3),
            warnings=listener.notes(), srt=listener.srt(), **extras,
        )  # fmt: skip


def _headers(listener: Listener) -> dict[str, str]:
    headers = {"Bark-Seed": str(listener.planned.job.seed)}
    if notes := listener.notes():
        # Escaped, as headers are ASCII: a JSON list of strings.
        kept = json.dumps(notes)
        headers["Bark-Warnings"] = (
            kept if len(kept) <= _MAX_NOTES else json.dumps([*notes[:3], "and more"])[:_MAX_NOTES]
        )
    return headers


async def _batch(service: Service, body: BatchRequest, request: Request) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [{} for _ in body.items]
    planned: dict[int, Planned] = {}
    for index, item in enumerate(body.items):
        try:
            planned[index] = await service.plan_soon(SpeechRequest.model_validate(item))
        except ValidationError as error:
            results[index] = ApiError(400, *describe_invalid(error.errors())).body()
        except ApiError as error:
            results[index] = error.body()
    if planned:
        listeners = service.submit(list(planned.values()), request)
        request.state.listeners = listeners
        for index, listener in zip(planned, listeners, strict=True):
            results[index] = await _item(listener)
    return [{"index": index, **result} for index, result in enumerate(results)]


async def _item(listener: Listener) -> dict[str, Any]:
    request = listener.planned.request
    try:
        encoder = Encoder(request.response_format, listener.service.sample_rate, request.speed, whole=True)
        data = b"".join([chunk async for chunk in _encoded(listener, encoder)])
        extras = await listener.extras()
    except ApiError as error:
        return error.body()
    return {
        "audio": base64.b64encode(data).decode(), "format": request.response_format,
        "seed": listener.planned.job.seed, "seconds": round(encoder.seconds, 3), "usage": listener.usage(),
        "warnings": listener.notes(), **extras,
    }  # fmt: skip
