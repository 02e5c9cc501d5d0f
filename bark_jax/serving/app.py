"""The ASGI application: `create_app(bark)`, for `bark-jax serve` and for servers of your own."""

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp

from bark_jax import __version__
from bark_jax.bark import Bark
from bark_jax.serving import speech
from bark_jax.serving.batching import prepare
from bark_jax.serving.config import ServerConfig
from bark_jax.serving.edge import Edge, on_api_error, on_left, refused
from bark_jax.serving.errors import ApiError, describe_invalid
from bark_jax.serving.metrics import Metrics
from bark_jax.serving.scheduler import Scheduler
from bark_jax.serving.service import ClientLeft, Service
from bark_jax.serving.uploads import add_voice
from bark_jax.serving.voices import list_voices, remove_voice

_EXPOSED = ("X-Request-Id", "Bark-Seed", "Bark-Audio-Seconds", "Bark-Warnings", "Retry-After")
_DEFAULTS = ServerConfig()


def create_app(bark: Bark, config: ServerConfig = _DEFAULTS, *, on_death: Callable[[], None] = lambda: None) -> ASGIApp:
    """An endpoint for one model. Its worker lives as long as the application's lifespan.

    on_death: called from the worker's thread if it cannot go on; then `/health` is 503.
    """
    metrics = Metrics()
    warm = partial(prepare, bark.engine, bark.settings, config.max_batch)
    scheduler = Scheduler(bark.engine, config, metrics, warm, on_death)
    service = Service(bark, config, scheduler, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        metrics.open()
        scheduler.start()
        yield
        await run_in_threadpool(scheduler.stop)
        metrics.close()

    app = FastAPI(title="bark_jax", version=__version__, lifespan=lifespan)
    app.include_router(speech.router(service))
    _add_lists(app, service)
    _add_states(app, service)
    _add_errors(app)
    edge: ASGIApp = Edge(app, service)
    if config.cors:
        return CORSMiddleware(
            edge, allow_origins=config.cors, allow_methods=["*"], allow_headers=["*"], expose_headers=_EXPOSED
        )
    return edge


def _add_lists(app: FastAPI, service: Service) -> None:
    model = {"id": service.model, "object": "model", "created": service.started, "owned_by": "bark_jax"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> dict[str, Any]:
        if name != service.model:
            raise ApiError(404, "there is no such model: GET /v1/models", "model", code="model_not_found")
        return model

    @app.get("/v1/audio/voices")
    async def voices() -> dict[str, Any]:
        return {"object": "list", "data": await run_in_threadpool(list_voices, service.frontend)}

    @app.post("/v1/audio/voices", status_code=201)
    async def upload(
        name: str = Form(max_length=200),
        consent: bool = Form(default=False),
        file: UploadFile = File(),  # noqa: B008
    ) -> dict[str, Any]:
        """Keep an `.npz` of tokens as a voice, once it is checked, or a recording of somebody who consents."""
        notes = await add_voice(service, name, await file.read(), consent=consent)
        return {"id": name, "object": "audio.voice", "name": name, "warnings": notes}

    @app.delete("/v1/audio/voices/{name:path}")
    async def delete(name: str) -> dict[str, Any]:
        """Forget an uploaded voice."""
        name = await run_in_threadpool(remove_voice, service.frontend, name)
        return {"id": name, "object": "audio.voice.deleted", "deleted": True}


def _add_states(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        """503 once the worker has died."""
        state = service.scheduler.state
        return JSONResponse({"status": state}, 503 if state == "dead" else 200)

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """503 until everything is compiled, and while the server stops."""
        state = service.scheduler.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(Path(__file__).parent / "page" / "index.html")


def _add_errors(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, on_api_error)
    app.add_exception_handler(ClientLeft, on_left)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return refused(ApiError(400, *describe_invalid(error.errors())))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return refused(ApiError(error.status_code, str(error.detail), headers=dict(error.headers or {})))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> JSONResponse:
        message = f"the server failed; its log has more under the request id {request.state.id}"
        return refused(ApiError(500, message))
