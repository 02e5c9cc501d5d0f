"""How does the cost of a token grow with context, batch and clip length, and does anything recompile?

    python -m benchmarks.growth [--size small] [--dtype float32] [--batches 1 2 4 8] [--seconds 1 3 5 10 13.65]

Context and clip length only change numbers inside a program, so varying them must compile nothing; a batch size is a
shape, so each compiles its own programs, once.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from bark_jax import Bark, BarkConfig
from bark_jax.bench import CONTEXT, STAGES, STEPS, Row, Stage, cache_length, decoder, step_row
from bark_jax.measuring import compilations, reader
from benchmarks.harness import FOLDER, interleaved, record

CONTEXTS = (256, 400, 640, 896, 1023)
SECONDS = (1.0, 3.0, 5.0, 10.0, 13.65)
_TEXT = "The cost of these words does not depend on what they say."


def contexts(bark: Bark, rounds: int) -> Iterator[Row]:
    """Milliseconds of a step against the positions in the cache, batch 1."""
    for stage in STAGES:
        longest = cache_length(bark.config, stage)
        fitting = [min(context, longest) for context in CONTEXTS]
        yield from steps(bark, stage, [(1, context) for context in dict.fromkeys(fitting)], rounds)


def batches(bark: Bark, sizes: Sequence[int], rounds: int) -> Iterator[Row]:
    """Milliseconds of a step against the batch."""
    for stage in STAGES:
        yield from steps(bark, stage, [(batch, CONTEXT) for batch in sizes], rounds)


def steps(bark: Bark, stage: Stage, cases: Sequence[tuple[int, int]], rounds: int) -> Iterator[Row]:
    """One row for each (batch, context), measured in turns with the bandwidth of the memory."""
    network, compiled = getattr(bark, stage), []
    read, size = reader()
    calls: dict[str, Callable[[], Array]] = {"read": read}
    for batch, context in cases:
        decode = decoder(network, stage, bark.config, batch=batch, context=context)
        with compilations() as programs:
            decode().block_until_ready()
        compiled.append(len(programs))
        calls[f"{batch}, {context}"] = decode
    bandwidth, *seconds = map(statistics.median, interleaved(calls, rounds).values())
    for (batch, context), time, programs in zip(cases, seconds, compiled, strict=True):
        row = step_row(network, stage, bark.config, time / STEPS, size / bandwidth, batch=batch, context=context)
        yield row | {"compiled": programs}


def lengths(bark: Bark, seconds: Sequence[float], rounds: int) -> Iterator[Row]:
    """Seconds of each stage per second of audio against the length of the clip, after one call that compiles."""
    yield _clip_row(bark, min(seconds), 1) | {"note": "first call"}
    for length in seconds:
        yield _clip_row(bark, length, rounds)


def _clip_row(bark: Bark, seconds: float, rounds: int) -> dict[str, Any]:
    with compilations() as programs:
        clips = [bark.generate(_TEXT, seed=seed, max_seconds=seconds, allow_early_stop=False) for seed in range(rounds)]
    audio = clips[0].seconds
    stages = {stage: statistics.median(clip.timings[stage] for clip in clips) / audio for stage in clips[0].timings}
    return {
        "audio s": audio,
        **{f"{stage} s per audio s": time for stage, time in stages.items()},
        "real-time factor": sum(stages.values()),
        "compiled": len(programs),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all three and record them."""
    many, rounds = ((), 1) if jax.default_backend() == "cpu" else ((16, 32, 64), 5)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=["tiny", "small", "large"], default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, *many])
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    options = parser.parse_args(arguments)
    bark = Bark.from_config(BarkConfig.preset(options.size), jax.random.key(0), dtype=options.dtype)
    label = {"size": options.size, "dtype": str(jnp.dtype(bark.semantic.dtype))}
    tables = {
        "growth with context": contexts(bark, options.rounds),
        "growth with batch": batches(bark, options.batches, options.rounds),
        "growth with clip length": lengths(bark, options.seconds, rounds),
    }
    for name, rows in tables.items():
        record(f"{name}, {options.size}", [label | row for row in rows], folder=options.out)


if __name__ == "__main__":
    main()
