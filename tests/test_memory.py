"""A batch that does not fit the device is an error that names one that does."""

from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig
from bark_jax.memory import DeviceMemoryError, batch_that_fits, clip_bytes
from bark_jax.policy import Policy

FULL = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 6442450944 bytes."


class Chip:
    """A device of a known size."""

    device_kind = "TPU v5 lite"

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def memory_stats(self) -> dict[str, int] | None:
        return {"bytes_limit": self.limit} if self.limit else None


def fail(message: str, limit: int | None, count: int, **about: Any) -> None:
    with batch_that_fits(Chip(limit), count, stage="semantic", weights=40, clip=10, **about):
        raise jax.errors.JaxRuntimeError(message)


@pytest.mark.parametrize(
    ("limit", "count", "devices", "expected"),
    [
        (100, 64, 1, r"the semantic stage: 64 clips at once do not fit the memory of TPU v5 lite \(.* such as 5 \("),
        (100, 64, 8, r"such as 40 \(batch_size=40\)"),
        (10**9, 64, 1, "such as 63 "),  # never more than what failed
        (20, 64, 1, "such as 1 "),
        (None, 64, 1, r"do not fit the memory of TPU v5 lite: give fewer, such as 32 "),
        (100, 1, 1, "a clip does not fit .*: use offload=True, dtype='bfloat16' or a smaller model"),
    ],
)
def test_it_names_a_batch_that_fits(limit: int | None, count: int, devices: int, expected: str) -> None:
    with pytest.raises(DeviceMemoryError, match=expected):
        fail(FULL, limit, count, devices=devices)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        fail("INTERNAL: a bug", 100, 64)


def test_an_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))

    def run_out(*_: Any, **__: Any) -> list[np.ndarray]:
        raise jax.errors.JaxRuntimeError(FULL)

    monkeypatch.setitem(bark.engine.generate_tokens.__globals__["_GENERATORS"], "semantic", run_out)
    with pytest.raises(DeviceMemoryError, match=r"2 clips at once do not fit the memory of cpu.* such as 1 "):
        bark.generate(["One.", "Two."], seed=1)


@pytest.mark.parametrize(("stage", "megabytes"), [("semantic", 100.7), ("coarse", 93.4)])
def test_what_a_clip_takes_begins_with_its_cache(stage: str, megabytes: float) -> None:
    """Of large in bfloat16: the compilers count as much."""
    taken = clip_bytes(BarkConfig.preset("large"), stage, "bfloat16", Policy.of_platform("tpu")) / 1e6
    assert megabytes < taken < 2 * megabytes
