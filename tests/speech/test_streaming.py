"""Streams: the same audio while it is made; the work ends with the listening."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Settings
from bark_jax.settings import SettingsError
from bark_jax.speech.streaming import Check, work_ahead

TEXT = "One. [pause 0.1] Two is longer. [pause 0] Three.\n\nFour. [pause] Five ends it."
SHORT: dict[str, Any] = {"seed": 1, "batch_size": 2, "settings": Settings(max_seconds=1.3, min_eos_p=None)}


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def count(check: Check) -> Iterator[int]:
    for number in range(10**9):
        check()
        yield number


def test_items_come_in_order() -> None:
    assert list(work_ahead(lambda check: iter(range(100)), 3)) == list(range(100))


def test_work_is_ahead_but_not_by_more_than_asked() -> None:
    made: list[int] = []

    def work(check: Check) -> Iterator[int]:
        for number in count(check):
            made.append(number)
            yield number

    results = work_ahead(work, 3)
    assert next(results) == 0
    wait_until(lambda: len(made) == 5)  # one taken, three waiting, one to be put
    time.sleep(0.05)
    assert len(made) == 5
    results.close()


@pytest.mark.parametrize("most", [1, 5])
@pytest.mark.parametrize("taken", [0, 1, 20])
def test_closing_ends_the_work(most: int, taken: int) -> None:
    results = work_ahead(count, most)
    for _ in range(taken):
        next(results)
    results.close()
    assert list(results) == []


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def work(check: Check) -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    results = work_ahead(work, 3)
    assert next(results) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_the_chunks_are_what_is_spoken_at_once(bark: Bark) -> None:
    spoken = bark.speak(TEXT, **SHORT)
    stream = bark.stream(TEXT, **SHORT)
    assert stream.time_to_first_audio is None
    chunks = list(stream)
    assert len(chunks) > len(spoken.pieces)
    assert all(chunk.dtype == np.float32 and chunk.ndim == 1 and len(chunk) for chunk in chunks)
    streamed = stream.speech(chunks)
    np.testing.assert_array_equal(streamed.waveform, spoken.waveform)
    for ours, theirs in zip(streamed.pieces, spoken.pieces, strict=True):
        assert (ours.seed, ours.start, ours.end) == (theirs.seed, theirs.start, theirs.end)
        np.testing.assert_array_equal(ours.tokens.fine, theirs.tokens.fine)
    assert stream.sample_rate == spoken.sample_rate == 24_000
    assert 0 < stream.time_to_first_audio <= sum(streamed.timings.values()) + 1


def test_the_first_chunk_comes_before_the_last_batch_is_made(bark: Bark) -> None:
    """Of what a batch of one piece and then two of two pieces report, when the first samples can be heard."""
    seen: list[tuple[str, int, int]] = []
    heard = False

    def watch(stage: str, done: int, total: int) -> None:
        if heard:
            seen.append((stage, done, total))

    chunks = iter(bark.stream(TEXT, progress=watch, **SHORT))
    first, heard = next(chunks), True
    assert 0 < len(first) <= 75 * 320
    list(chunks)
    assert ("pieces", 5, 5) in seen
    assert [report for report in seen if report[0] == "semantic"]


def listen_a_little(bark: Bark, **options: Any) -> None:
    for _ in bark.stream(TEXT, **options):
        return


def stop_by_exception(bark: Bark, **options: Any) -> None:
    def interrupt() -> None:
        for _ in bark.stream(TEXT, **options):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()


def stop_by_closing(bark: Bark, **options: Any) -> None:
    chunks = iter(bark.stream(TEXT, **options))
    next(chunks)
    chunks.close()


def stop_before_the_start(bark: Bark, **options: Any) -> None:
    iter(bark.stream(TEXT, **options)).close()


@pytest.mark.parametrize("stop", [listen_a_little, stop_by_exception, stop_by_closing, stop_before_the_start])
def test_whoever_stops_listening_stops_the_work(bark: Bark, stop: Callable[..., None]) -> None:
    """At once, without the garbage collector: the fixture counts the threads."""
    done: list[int] = []
    gc.disable()
    try:
        stop(bark, progress=lambda stage, n, _: done.append(n) if stage == "pieces" else None, **SHORT)
        assert max(done, default=0) < 5
    finally:
        gc.enable()


def test_an_error_in_the_work_reaches_the_listener(bark: Bark) -> None:
    def fail(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pieces", 1):
            raise RuntimeError("no more")

    chunks: list[np.ndarray] = []
    with pytest.raises(RuntimeError, match="no more"):
        chunks.extend(bark.stream(TEXT, progress=fail, **SHORT))
    assert chunks, "what was made before the error is heard"


def test_a_stream_is_heard_once(bark: Bark) -> None:
    stream = bark.stream("One.", **SHORT)
    list(stream)
    with pytest.raises(RuntimeError, match="once"):
        iter(stream)


def test_bad_input_raises_at_once(bark: Bark) -> None:
    with pytest.raises(SettingsError, match="keep_voice"):
        bark.stream(TEXT, keep_voice="sometimes")
