"""What every request passes first: an id, the key, limits of size and time; and its line in the log at the end."""

import asyncio
import hmac
import time
import uuid
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bark_jax.serving.errors import ApiError
from bark_jax.serving.logs import log
from bark_jax.serving.service import ClientLeft, Service
from bark_jax.serving.speech import Aborted

_PATHS = {  # as metrics name them: anything else is one row
    "/", "/v1/audio/speech", "/v1/audio/speech/batch", "/v1/audio/voices", "/v1/models", "/health", "/ready",
    "/metrics",
}  # fmt: skip
_QUIET = {"/health", "/ready", "/metrics"}  # asked every few seconds: not in the log unless something is wrong
_OUTCOMES = {413: "too_large", 429: "queue_full", 504: "deadline", 499: "left"}
_LEFT = 499  # in the log: the client did not wait


class Edge:
    """ASGI around the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._config = app, service, service.config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["id"] = f"req_{uuid.uuid4().hex}"
        started, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", state["id"].encode())]
            await send(message)

        error: BaseException | None = None
        try:
            self._check(scope)
            await self._app(scope, self._bounded(scope, receive), answer)
        except ApiError as refusal:
            await refused(refusal)(scope, receive, answer)
        except (ClientLeft, asyncio.CancelledError, OSError):
            status = status or _LEFT
        except Aborted as reason:
            error = reason
        except Exception as unforeseen:
            error = unforeseen  # Starlette has answered 500
        self._record(scope, status, time.perf_counter() - started, error)

    def _check(self, scope: Scope) -> None:
        """Raise ApiError for a request that is not allowed, or says itself that it is too large."""
        path, headers = scope["path"], dict(scope["headers"])
        key = self._config.api_key
        if key is not None and (path.startswith("/v1/") or path == "/metrics"):
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + key.encode()):
                raise ApiError(401, "this server needs its key: Authorization: Bearer KEY", code="invalid_api_key")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._limit(path):
            raise self._too_large(path)

    def _limit(self, path: str) -> int:
        return self._config.max_upload if path.startswith("/v1/audio/voices") else self._config.max_body

    def _too_large(self, path: str) -> ApiError:
        return ApiError(413, f"the request has more than {self._limit(path)} bytes", headers={"Connection": "close"})

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Bodies that say nothing of their size, or arrive drop by drop. HTTPException passes through FastAPI."""
        size, ended = 0, False
        end = asyncio.get_running_loop().time() + self._config.body_timeout

        async def bounded() -> Message:
            nonlocal size, ended
            if ended:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError as error:
                late = f"the request did not arrive within {self._config.body_timeout:g} s"
                raise HTTPException(408, late, headers={"Connection": "close"}) from error
            size += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if size > self._limit(scope["path"]):
                refusal = self._too_large(scope["path"])
                raise HTTPException(413, refusal.message, headers=refusal.headers)
            return message

        return bounded

    def _record(self, scope: Scope, status: int, seconds: float, error: BaseException | None) -> None:
        path = scope["path"] if scope["path"] in _PATHS else "other"
        outcome = "aborted" if isinstance(error, Aborted) else _OUTCOMES.get(status, f"{status // 100}xx")
        self._service.metrics.requests.labels(path, outcome).inc()
        listeners = scope["state"].get("listeners", ())
        if listeners and any(listener.ticket.performance.abandoned for listener in listeners) and outcome == "2xx":
            outcome = "left"
        if path in _QUIET and (status == 200 or path == "/ready"):
            return
        facts = listeners[0].facts() if len(listeners) == 1 else {"items": len(listeners)} if listeners else {}
        log(
            "request", id=scope["state"]["id"], method=scope["method"], path=scope["path"][:200], status=status,
            outcome=outcome, seconds=round(seconds, 4), error=error, **facts,
        )  # fmt: skip


def refused(error: ApiError) -> JSONResponse:
    """The answer of an error."""
    return JSONResponse(error.body(), error.status, headers=error.headers)


async def on_left(_: Request, error: Exception) -> Response:
    """For the log: nobody reads it."""
    return Response(status_code=_LEFT)


async def on_api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return refused(error)
