"""A server on a port of this machine, in a thread of this process."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import uvicorn

from bark_jax.serving.server import Impatient

from fakes import wait_for


@contextlib.contextmanager
def listening(app: Any, patience: float = 20) -> Iterator[str]:
    """Its address, once it is ready."""
    protocol = type("Impatient", (Impatient,), {"patience": patience})
    config = uvicorn.Config(
        app, port=0, http=protocol, ws="none", lifespan="on", access_log=False, log_config=None,
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx2.get(f"{url}/ready").status_code == 200, 300)
        yield url
    finally:
        server.should_exit = True
        thread.join(30)
