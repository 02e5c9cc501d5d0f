"""How does the server behave under load? Clients on loopback, against one client and a server that has a lock.

    python -m benchmarks.serving [--model nano] [--clients 1 8 32 200] [--max-batch N]

Each client asks for one text after the other, of mixed lengths; a fifth of the requests is left early, a tenth is
malformed. Every completed answer is compared with the bytes of the same request alone. The naive server answers one
request at a time under a lock, as a loop around `Bark.speak` would.
"""

import argparse
import asyncio
import contextlib
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bark_jax.audio import pcm_bytes, resample
from bark_jax.bark import Bark
from bark_jax.measuring import peak_memory
from bark_jax.serving.app import create_app
from bark_jax.serving.config import ServerConfig
from bark_jax.serving.encoding import PCM_RATE
from benchmarks.harness import FOLDER, record

TEXTS = (
    "It is nine.",
    "It is cold today. I like tea.",
    "See you tomorrow. It is seven thirty two on Monday. It is cold today. I like tea.",
)
LEAVES, MALFORMED = 5, 10  # one request of that number


@contextlib.contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of an application, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    while httpx2.get(f"{url}/ready").status_code == 503:
        time.sleep(0.1)
    yield url
    server.should_exit = True
    thread.join()


def naive(bark: Bark) -> Any:
    """One request at a time."""
    lock = threading.Lock()

    def speak(text: str, seed: int) -> bytes:
        with lock:
            speech = bark.speak(text, seed=seed)
        return pcm_bytes(resample(speech.waveform, speech.sample_rate, PCM_RATE))

    async def answer(request: Request) -> Response:
        body = await request.json()
        if "input" not in body:
            return Response(status_code=400)
        return Response(await run_in_threadpool(speak, body["input"], body["seed"]))

    return Starlette(routes=[Route("/v1/audio/speech", answer, methods=["POST"])])


class Load:
    """What clients saw."""

    def __init__(self) -> None:
        self.first: list[float] = []  # seconds to the first audio
        self.audio = 0.0  # seconds of it
        self.answers: list[tuple[dict[str, Any], bytes]] = []
        self.left = self.malformed = self.failed = 0

    async def ask(self, client: httpx2.AsyncClient, number: int) -> None:
        body = {"input": TEXTS[number % len(TEXTS)], "seed": number % 30, "response_format": "pcm"}
        if number % MALFORMED == 3:
            answer = await client.post("/v1/audio/speech", json={"seed": 1})
            self.malformed += answer.status_code == 400
            return
        started, data = time.perf_counter(), b""
        with contextlib.suppress(httpx2.HTTPError):
            async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                async for chunk in answer.aiter_bytes():
                    if not data:
                        self.first.append(time.perf_counter() - started)
                    data += chunk
                    if number % LEAVES == 4:
                        self.left += 1
                        return
            if answer.status_code == 200:
                self.audio += len(data) / 2 / PCM_RATE
                self.answers.append((body, data))
                return
        self.failed += 1


async def run(url: str, clients: int, requests: int) -> tuple[Load, float]:
    """Requests from clients at once; what they saw, and the seconds it took."""
    load, numbers = Load(), iter(range(requests))
    limits = httpx2.Limits(max_connections=clients)

    async def work(client: httpx2.AsyncClient) -> None:
        for number in numbers:
            await load.ask(client, number)

    async with httpx2.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        started = time.perf_counter()
        await asyncio.gather(*(work(client) for _ in range(clients)))
    return load, time.perf_counter() - started


def row(name: str, clients: int, load: Load, seconds: float, alone: dict[str, bytes] | None) -> dict[str, Any]:
    first = sorted(load.first)
    wrong = sum(alone[key(body)] != data for body, data in load.answers) if alone is not None else None
    return {
        "server": name, "clients": clients, "completed": len(load.answers), "left": load.left,
        "malformed": load.malformed, "failed": load.failed, "other bytes than alone": "-" if wrong is None else wrong,
        "first audio p50 s": round(statistics.median(first), 2), "p95 s": round(first[int(0.95 * (len(first) - 1))], 2),
        "audio s / s": round(load.audio / seconds, 2), "peak MiB": round(peak_memory().get("host", 0) / 2**20),
    }  # fmt: skip


def key(body: dict[str, Any]) -> str:
    return f"{body['seed']} {body['input']}"


def alone(url: str, answers: Sequence[tuple[dict[str, Any], bytes]]) -> dict[str, bytes]:
    """Each of the requests again, by itself."""
    bodies = {key(body): body for body, _ in answers}
    return {
        name: httpx2.post(f"{url}/v1/audio/speech", json=body, timeout=600).content for name, body in bodies.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 200])
    parser.add_argument("--requests", type=int, default=40, help="of each run; at least one a client")
    parser.add_argument("--max-batch", type=int)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    bark, rows, known = Bark.from_pretrained(options.model), [], {}
    counts = [(clients, max(clients, options.requests)) for clients in options.clients]
    with listening(create_app(bark, ServerConfig(max_batch=options.max_batch))) as url:
        for clients, requests in counts:
            load, seconds = asyncio.run(run(url, clients, requests))
            missing = [answer for answer in load.answers if key(answer[0]) not in known]
            known |= alone(url, missing)
            rows.append(row("bark-jax serve", clients, load, seconds, known))
    with listening(naive(bark)) as url:
        for clients, requests in counts[:2]:
            rows.append(row("lock per request", clients, *asyncio.run(run(url, clients, requests)), None))
    record(f"serving {options.model}", rows, "Memory is that of server and clients, one process.", folder=options.out)


if __name__ == "__main__":
    main()
