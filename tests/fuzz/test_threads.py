"""Threads that speak with one model at the same time: each gets what it would get alone."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bark_jax import Bark, Generation
from bark_jax.settings import SettingsError
from bark_jax.text import TextError
from bark_jax.voices.voice import VoiceError

THREADS = 8
TEXTS = ("Hi", "Hello, my dog is cute.", "One two three", "[laughs] ♪", "Grüße", "a b c", "word " * 40, "?!")

Call = dict[str, Any]


class Halted(Exception):
    pass


def halt(stage: str, done: int, total: int) -> None:
    if stage == "coarse" and done:
        raise Halted


BAD_CALLS: list[tuple[Call, type[Exception]]] = [
    ({"text": " "}, TextError),
    ({"text": "Hi", "voice": "nobody"}, VoiceError),
    ({"text": "Hi", "semantic_temperature": -1}, SettingsError),
    ({"text": "Hi", "max_seconds": 1, "allow_early_stop": False, "progress": halt}, Halted),
]


@pytest.fixture(scope="module")
def calls(bark: Bark) -> list[Call]:
    voices = [bark.generate("A voice.", seed=s, max_seconds=2, allow_early_stop=False) for s in (5, 6)]
    return [
        {
            "text": text, "voice": (None, *voices)[i % 3], "seed": 100 + i, "semantic_temperature": i % 4 / 3,
            "max_seconds": 0.2 + i / 4, "allow_early_stop": i % 2 == 0,
        }
        for i, text in enumerate(TEXTS)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def alone(bark: Bark, calls: Sequence[Call]) -> list[Generation]:
    return [bark.generate(**call) for call in calls]


def speak_at_once(bark: Bark, calls: Sequence[Call]) -> list[Any]:
    """What every call returns or raises, all of them begun at the same moment."""
    start = threading.Barrier(len(calls))

    def speak(call: Call) -> Any:
        start.wait()
        try:
            return bark.generate(**call)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(speak, calls))


def assert_same(ours: Generation, theirs: Generation) -> None:
    for name in ("semantic", "coarse", "fine", "waveform"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_threads_get_what_they_get_alone(
    bark: Bark, calls: Sequence[Call], alone: Sequence[Generation], rounds: int
) -> None:
    for turn in range(rounds):
        order = np.random.default_rng(turn).permutation(THREADS)
        results = speak_at_once(bark, [calls[i] for i in order])
        for index, result in zip(order, results, strict=True):
            assert_same(result, alone[index])


def test_a_call_that_fails_disturbs_no_other(bark: Bark, calls: Sequence[Call], alone: Sequence[Generation]) -> None:
    results = speak_at_once(bark, [*calls, *(call for call, _ in BAD_CALLS)])
    for ours, theirs in zip(results, alone, strict=False):
        assert_same(ours, theirs)
    for error, (_, expected) in zip(results[len(calls) :], BAD_CALLS, strict=True):
        assert type(error) is expected


def test_threads_may_compile_at_once(bark: Bark) -> None:
    """A program that nobody has used before, in every thread."""
    call = {"text": "Hi", "seed": 1, "semantic_top_k": 20, "semantic_top_p": 0.9, "max_seconds": 0.1}
    first, *others = speak_at_once(bark, [call | {"allow_early_stop": False}] * 3)
    for other in others:
        assert_same(other, first)
