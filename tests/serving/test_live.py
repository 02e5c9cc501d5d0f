"""A server on a socket: the official client, clients that leave, that dribble; and the bytes of a real model."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import httpx2
import openai
import pytest

from bark_jax.serving.encoding import FORMATS
from bark_jax.serving.server import WORKER_DIED

from fakes import FakeEngine, app_of, wait_for
from live import listening

pytestmark = pytest.mark.io

LONG = "One is here. [pause 0.1] Two is there. [pause 0.1] Three is gone. [pause 0.1] Four is back."


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    with listening(app_of(engine, body_timeout=1.0, max_batch=1), patience=1.0) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as own:
        yield own


def create(client: openai.OpenAI, text: str = LONG, **fields: Any) -> Any:
    return client.audio.speech.create(model="toy", voice="none", input=text, extra_body={"seed": 1}, **fields)


def seconds_of(name: str, data: bytes) -> float:
    if name == "pcm":
        return len(data) / 2 / 24_000
    with av.open(io.BytesIO(data)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize("name", FORMATS)
def test_openai_create(client: openai.OpenAI, name: Any) -> None:
    for text, speed in (("One.", 1.0), (LONG, 1.0), (LONG, 2.0)):
        raw = create(client, text, response_format="pcm").content
        answer = create(client, text, response_format=name, speed=speed)
        assert answer.response.headers["content-type"] == FORMATS[name].media_type
        assert seconds_of(name, answer.content) == pytest.approx(len(raw) / 2 / 24_000 / speed, abs=0.15)


def test_openai_streams(client: openai.OpenAI, engine: FakeEngine) -> None:
    whole = create(client, response_format="pcm").content
    engine.batches.clear()
    with client.audio.speech.with_streaming_response.create(
        model="toy", voice="none", input=LONG, response_format="pcm", extra_body={"seed": 1}
    ) as answer:
        chunks = list(answer.iter_bytes())
    assert b"".join(chunks) == whole
    assert answer.request_id.startswith("req_")


def test_openai_errors(client: openai.OpenAI, engine: FakeEngine) -> None:
    with pytest.raises(openai.BadRequestError, match="empty") as caught:
        create(client, "")
    assert caught.value.param == "input"
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.speech.create(model="other", voice="none", input="One.")
    assert missing.value.code == "model_not_found"
    assert [model.id for model in client.models.list()] == [client.models.retrieve("toy").id] == ["toy"]
    engine.fail = RuntimeError("broken")
    with pytest.raises(openai.InternalServerError, match="request id"):
        create(client, "One.")
    engine.fail = None
    create(client, "One.")


def test_a_text_is_heard_before_it_is_made(url: str, engine: FakeEngine) -> None:
    engine.batches.clear()
    engine.seconds = 0.3
    body = {"input": LONG, "seed": 1, "response_format": "pcm"}
    with httpx2.stream("POST", f"{url}/v1/audio/speech", json=body) as answer:
        assert next(answer.iter_bytes())
        assert sum(stage == "semantic" for stage, _ in engine.batches) < 4
    engine.seconds = 0.0
    wait_for(lambda: queue_length(url) == 0)


def queue_length(url: str) -> float:
    lines = httpx2.get(f"{url}/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("bark_queue_length ")))


@pytest.mark.parametrize("fields", [{}, {"stream_format": "sse"}, {"wait": True}])
def test_a_client_that_leaves_frees_its_pieces(url: str, engine: FakeEngine, fields: dict[str, Any]) -> None:
    engine.gate.clear()
    body = {"input": LONG, "seed": 1, **fields}
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{url}/v1/audio/speech", json=body, timeout=0.2)
    wait_for(lambda: queue_length(url) == 0)
    engine.batches.clear()
    engine.gate.set()
    time.sleep(0.1)
    assert not [stage for stage, _ in engine.batches if stage != "semantic"], "what runs ends within its stage"


def raw(url: str, data: bytes) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    connection.sendall(data)
    return connection


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", b""),
        (b"POST /v1/audio/speech HTTP/1.1\r\nHo", b""),
        (b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"HTTP/1.1 408"),
    ],
)  # fmt: skip
def test_clients_that_dribble_are_dropped(url: str, data: bytes, answer: bytes) -> None:
    with raw(url, data) as connection:
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
    assert received.startswith(answer)
    assert bool(received) == bool(answer)


def test_later_requests_of_a_connection_may_not_dribble_either(url: str) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with raw(url, request) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(request[:20])
        while connection.recv(4096):  # a time-out of the socket is an error
            pass


_FAILING_SERVER = """
import sys
from fakes import FakeEngine, bark_of
from bark_jax.serving.config import ServerConfig
from bark_jax.serving.server import serve

engine = FakeEngine()
engine.warming = RuntimeError("no memory")
sys.exit(serve(bark_of(engine), ServerConfig(), host="127.0.0.1", port=0, grace=1))
"""


def test_a_server_whose_worker_has_died_ends_with_an_error() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", _FAILING_SERVER], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == WORKER_DIED, done.stderr
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert "the worker cannot go on" in events
    assert events[-1] == "stopped"


@pytest.fixture(scope="module")
def command() -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """`bark-jax serve` with a real model: the process, its address, and its log so far."""
    cache = Path(tempfile.gettempdir()) / f"bark-jax-documents-{os.getuid()}"  # compiled programs, as for the documents
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    arguments = ["serve", "--model", "random:tiny", "--port", "0", "--max-batch", "2", "--grace", "120"]
    with subprocess.Popen(
        [sys.executable, "-m", "bark_jax", *arguments], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr
        lines: list[str] = []
        thread = threading.Thread(target=lambda: lines.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
        thread.start()
        try:
            wait_for(lambda: any('"listening"' in line for line in lines), 120)
            address = json.loads(next(line for line in lines if '"listening"' in line))["url"]
            wait_for(lambda: httpx2.get(f"{address}/ready").status_code == 200, 300)
            yield process, address, lines
        finally:
            process.kill()
            thread.join()


TEXTS = ["One.", "Two is longer. [pause 0.1] So is this.", "Three. [pause 0.1] Four. [pause 0.1] Five."]


def body_of(number: int) -> dict[str, Any]:
    text = {"input": TEXTS[number % len(TEXTS)], "seed": number, "response_format": "flac"}
    return {**text, "max_seconds": 0.3, "semantic_temperature": 1.1}


@pytest.mark.slow
def test_bytes_do_not_depend_on_company(command: tuple[Any, str, Any]) -> None:
    """Of clients at once, of whom some leave: each that stays gets what it gets alone."""
    url = f"{command[1]}/v1/audio/speech"

    def alone(number: int) -> bytes:
        answer = httpx2.post(url, json=body_of(number), timeout=300)
        assert answer.status_code == 200, answer.text
        return answer.content

    def ask(number: int) -> bytes | None:
        if number % 5 == 4:
            with pytest.raises(httpx2.TimeoutException):
                httpx2.post(url, json=body_of(number), timeout=0.01 * (1 + number % 3))
            return None
        if number % 7 == 3:
            items = [body_of(number), body_of(number + 100), {"input": ""}]
            answer = httpx2.post(f"{url}/batch", json={"items": items}, timeout=300).json()["data"]
            return base64.b64decode(answer[0]["audio"])
        return alone(number)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    for number, data in enumerate(answers):
        assert data is None or data == alone(number), number


@pytest.mark.slow
def test_the_command_ends_as_a_supervisor_expects(command: tuple[subprocess.Popen[str], str, list[str]]) -> None:
    """SIGTERM: what runs is finished, nothing new is taken, exit code 0."""
    process, url, lines = command
    body = {"input": LONG, "seed": 1, "response_format": "pcm", "max_seconds": 1, "min_eos_p": 1}
    with httpx2.stream("POST", f"{url}/v1/audio/speech", json=body, timeout=120) as answer:
        chunks = answer.iter_bytes()
        data = next(chunks)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: not accepts(url))
        data += b"".join(chunks)
    assert len(data) / 48_000 > 1.5
    assert process.wait(60) == 0, lines
    wait_for(lambda: '"stopped"' in lines[-1])


def accepts(url: str) -> bool:
    try:
        httpx2.get(f"{url}/health")
    except httpx2.TransportError:
        return False
    return True
