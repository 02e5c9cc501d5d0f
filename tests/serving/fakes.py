"""A server whose model is a toy: it answers at once, or when it is let, and its audio depends on text and seed."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from bark_jax.config import BarkConfig
from bark_jax.inputs import Options
from bark_jax.policy import Policy
from bark_jax.serving.app import create_app
from bark_jax.serving.config import ServerConfig
from bark_jax.settings import Settings
from bark_jax.text import builtin_tokenizer
from bark_jax.voices.voice import Voice

from voice_arrays import arrays

RATE = 24_000
FRAMES = 75  # of every piece: a second


class FakeEngine:
    """Stages that return arrays of the right kind; `gate` holds the first stage, `fail` raises in it."""

    name = "toy"
    policy = Policy(platform="gpu", batch_size=4)  # nothing is measured

    def __init__(self) -> None:
        self.config = BarkConfig.tiny()
        self.gate = threading.Event()
        self.gate.set()
        self.fail: BaseException | None = None
        self.warming: BaseException | None = None
        self.seconds = 0.0  # of each batch
        self.batches: list[tuple[str, list[int]]] = []  # stages and seeds

    def warm_up(self, size: int, settings: Settings, *, scores: bool) -> None:
        if self.warming:
            raise self.warming

    def run(
        self, stage: str, inputs: Sequence[np.ndarray], options: Sequence[Options], progress: Callable[[int, int], None]
    ) -> list[np.ndarray]:
        self.batches.append((stage, [option.seed for option in options]))
        progress(0, 2)
        if stage == "semantic":
            while not self.gate.wait(0.01):
                progress(1, 2)
            time.sleep(self.seconds)
            if self.fail:
                raise self.fail
            return [np.array([int(ids.sum()) % 100, o.seed % 100], np.int32).repeat(20)
                    for ids, o in zip(inputs, options, strict=True)]  # fmt: skip
        if stage == "coarse":
            return [np.full((2, FRAMES), own[0] + own[-1], np.int32) for own in inputs]
        return [np.full((8, FRAMES), own[0, 0], np.int32) for own in inputs]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return next(self.decode_pieces(codes))

    def score_semantic(
        self, ids: Sequence[np.ndarray], semantic: Sequence[np.ndarray], options: Sequence[Options]
    ) -> list[float]:
        return [-1.0 - option.seed % 7 for option in options]

    def attention_to_text(
        self, ids: Sequence[np.ndarray], semantic: Sequence[np.ndarray], options: Sequence[Options]
    ) -> list[np.ndarray]:
        """One head, which looks at one token of the text after the other."""
        return [
            np.eye(len(text), dtype=np.float32)[None, np.arange(len(tokens)) * len(text) // len(tokens)]
            for text, tokens in zip(ids, semantic, strict=True)
        ]

    def decode_pieces(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        hertz = 200 + int(codes[0, 0])
        yield (0.5 * np.sin(2 * np.pi * hertz * np.arange(codes.shape[1] * 320) / RATE)).astype(np.float32)


def spoken_voice() -> Voice:
    """What every recording becomes."""
    return Voice.from_arrays(arrays(), BarkConfig.tiny())


def bark_of(engine: FakeEngine) -> Any:
    """What a server needs of a `Bark`."""
    return SimpleNamespace(
        engine=engine, config=engine.config, tokenizer=builtin_tokenizer(), voice_folder=None,
        settings=Settings.defaults(engine.config), voice_of=lambda heard: spoken_voice(),
    )  # fmt: skip


def app_of(engine: FakeEngine, *, on_death: Callable[[], None] = lambda: None, **config: Any) -> Any:
    limits = ServerConfig(**{"max_batch": 4, "linger": 0.0, **config})
    return create_app(bark_of(engine), limits, on_death=on_death)


@contextlib.contextmanager
def serving(engine: FakeEngine | None = None, **config: Any) -> Iterator[TestClient]:
    """A client of a server in this process."""
    with TestClient(app_of(engine or FakeEngine(), **config), raise_server_exceptions=False) as client:
        wait_for(lambda: client.get("/ready").status_code == 200 or client.get("/health").status_code == 503)
        yield client


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def speak(client: TestClient, text: str = "One.", **fields: Any) -> Any:
    return client.post("/v1/audio/speech", json={"input": text, "seed": 1, "response_format": "wav", **fields})
