"""Which batch sizes a server compiles: 1, 2, 4, … up to what the device gains from."""

import time
from collections.abc import Sequence

import numpy as np

from bark_jax.engine import Engine
from bark_jax.inputs import Options
from bark_jax.settings import Settings
from bark_jax.speech.performing import sizes_up_to

ON_ACCELERATORS = 16  # rows
ON_CPU = 16  # at most: measured
_GAIN = 0.9  # of the cost of a row: a size that costs more than this share of what half its size does is not worth it
_PROBE_SECONDS = 0.5  # of audio that is made to measure


def prepare(engine: Engine, settings: Settings, most: int | None) -> Sequence[int]:
    """Compile batches of all sizes up to `most`, which rise; None: as far as a row gets cheaper, measured on a CPU."""
    limit = most or (ON_CPU if engine.policy.platform == "cpu" else ON_ACCELERATORS)
    sizes: list[int] = []
    cost = float("inf")
    for size in sizes_up_to(limit):
        engine.warm_up(size, settings, scores=size == 1)  # takes are ranked one by one
        sizes.append(size)
        if most is not None or engine.policy.platform != "cpu":
            continue
        cost_before, cost = cost, _cost_of_row(engine, settings, size)
        if cost > _GAIN * cost_before:
            return sizes[:-1]
    return sizes


def _cost_of_row(engine: Engine, settings: Settings, size: int) -> float:
    """Seconds of work for each row of a batch; the better of two runs."""
    short = settings.replace(max_seconds=_PROBE_SECONDS, allow_early_stop=False)
    options = [Options(voice=None, seed=number, settings=short) for number in range(size)]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        engine.generate_tokens([np.zeros(1, np.int32)] * size, options, lambda *_: None)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / size
