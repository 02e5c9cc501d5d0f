"""uvicorn around the application: signals, impatience with slow clients, the exit code."""

import asyncio
import signal
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from bark_jax.bark import Bark
from bark_jax.errors import FileError
from bark_jax.serving.app import create_app
from bark_jax.serving.config import ServerConfig
from bark_jax.serving.logs import log, set_up

WORKER_DIED = 1  # exit code: for a supervisor that starts the server again
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Impatient(H11Protocol):
    """HTTP whose clients have to say within some seconds what they want, also after an answer."""

    patience = 20.0  # seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(self.patience, self._look, self.cycle)

    def on_response_complete(self) -> None:
        answered = self.cycle
        super().on_response_complete()  # begins with the next request, if that is there already
        self.loop.call_later(self.patience, self._look, answered)

    def _look(self, last: Any) -> None:
        """Close a connection that has brought no request since the last one."""
        if self.cycle is last and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that says in the log where it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            (host, port), *_ = (socket.getsockname()[:2] for server in self.servers for socket in server.sockets)
            log("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")


def serve(bark: Bark, config: ServerConfig, *, host: str, port: int, grace: float) -> int:
    """Serve until SIGTERM or Ctrl-C, then finish what runs within `grace` seconds; the exit code.

    Raises FileError for an address that cannot be used.
    """
    set_up()
    died = False

    def on_death() -> None:
        nonlocal died
        died = server.should_exit = True

    app = create_app(bark, config, on_death=on_death)
    protocol = type("Impatient", (Impatient,), {"patience": config.body_timeout})
    settings = uvicorn.Config(
        app, host=host, port=port, http=protocol, ws="none", lifespan="on", access_log=False, log_config=None,
        server_header=False, timeout_graceful_shutdown=max(1, round(grace)),
    )  # fmt: skip
    server = Server(settings)
    # uvicorn raises the signal again once it has stopped, for handlers that were there before.
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        server.run()
    except SystemExit as error:  # after a line in the log
        raise FileError(f"cannot listen on {host}, port {port}: see the line above; try another --port") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    log("stopped")
    return WORKER_DIED if died else 0
