"""The largest batch that fits an accelerator, from what its compiler says of two batches."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from bark_jax.bench import Row
from benchmarks.memory import parameter_bytes
from benchmarks.targets import TARGETS

USABLE = 0.95  # of the memory; the rest is the runtime's


def largest_batches(rows: Sequence[Row], dtype: str = "bfloat16") -> list[Row]:
    """For each target and size whose programs were compiled with two batches: the largest batch each has room for.

    What a program needs grows in a line with the batch. All networks are on the device, or with "offloaded" one alone.
    """

    def of(row: Row) -> tuple[Any, ...]:
        return row["target"], row["size"], row["program"]

    complete = sorted((row for row in rows if "in all MB" in row), key=of)
    programs = [(key, list(own)) for key, own in groupby(complete, of)]
    return [_fitting(*key, own, dtype) for key, own in programs if len({row["batch"] for row in own}) > 1]


def _fitting(target: str, size: str, program: str, rows: Sequence[Row], dtype: str) -> Row:
    few, many = (chosen(rows, key=lambda row: row["batch"]) for chosen in (min, max))
    slope = (many["in all MB"] - few["in all MB"]) / (many["batch"] - few["batch"])
    weights = parameter_bytes(size, dtype)
    others = (sum(weights.values()) - weights[program.split()[0]]) / 1e6
    room = TARGETS[target].memory * USABLE / 1e6 - few["in all MB"] + slope * few["batch"]
    return {
        "target": target, "size": size, "program": program, "MB a clip": slope,
        "largest batch": int((room - others) // slope), "offloaded": int(room // slope),
    }  # fmt: skip
