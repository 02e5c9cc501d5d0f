"""Two replicas of the server behind one address: whichever answers, the bytes are the same."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from bark_jax.serving.config import ServerConfig
from bark_jax.serving.ray import deployment

from fakes import wait_for

ray = pytest.importorskip("ray", reason="a deployment is tested where Ray is installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray's own
PORT = 8719


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray import serve

    ray.init(num_cpus=max(2, os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"port": PORT})
    serve.run(deployment("nano", ServerConfig(max_batch=1), replicas=2, num_cpus=0.5))
    address = f"http://127.0.0.1:{PORT}"
    wait_for(lambda: httpx2.get(f"{address}/ready").status_code == 200, 300)
    yield address
    serve.shutdown()
    ray.shutdown()


def test_replicas_have_the_same_bytes(url: str) -> None:
    def ask(number: int) -> bytes:
        body = {"input": "It is nine.", "seed": number % 2, "max_seconds": 0.5, "response_format": "flac"}
        answer = httpx2.post(f"{url}/v1/audio/speech", json=body, timeout=300)
        assert answer.status_code == 200, answer.text
        return answer.content

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == answers[:2] * 8
    assert answers[0] != answers[1]


def test_streams_and_errors_pass_through(url: str) -> None:
    body: dict[str, Any] = {"input": "One. [pause 0.1] Two.", "seed": 1, "max_seconds": 0.5, "stream_format": "sse"}
    answer = httpx2.post(f"{url}/v1/audio/speech", json=body, timeout=300)
    assert answer.text.count("speech.audio.delta") >= 2
    assert httpx2.post(f"{url}/v1/audio/speech", json={"input": ""}).json()["error"]["param"] == "input"
