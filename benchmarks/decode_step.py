"""How long does one decoding step take, how close is that to the memory's bandwidth, and how long do the peers take?

    python -m benchmarks.decode_step [--sizes small large] [--batches 1] [--contexts 400 900] [--peers …]
        [--dtypes bfloat16 int8]

A step is the network, the head and the sampling at the default temperature. A call decodes the last tokens of a context
of that many positions; ours is one program, PyTorch's a loop. All read their cache up to there.
"""

import argparse
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from bark_jax import Bark, BarkConfig, bench
from bark_jax.bench import Row
from bark_jax.measuring import reader
from bark_jax.settings import Settings
from benchmarks import peers
from benchmarks.harness import interleaved, record

STEPS = 20  # in a call
ROUNDS = 7
MEMORY = "reading memory"  # takes its turns like the implementations


def measure(
    bark: Bark, contestants: peers.Peers, *, batch: int, context: int, steps: int = STEPS, rounds: int = ROUNDS
) -> list[Row]:
    """One row per stage and implementation."""
    read, size = reader()
    rows: list[Row] = []
    for stage in bench.STAGES:
        prompt = np.random.default_rng(0).integers(0, bark.config.semantic.vocab, (batch, context - steps + 1))
        calls = {name: peer.prepare_steps(stage, prompt, steps) for name, peer in contestants.items()}
        seconds = interleaved({MEMORY: read, **calls}, rounds)
        bandwidth = size / statistics.median(seconds.pop(MEMORY))
        for row in peers.summary(seconds):
            own = getattr(contestants[row["implementation"]], "bark", bark)
            step = bench.step_row(
                getattr(own, stage), stage, bark.config, row["s"] / steps, bandwidth, batch=batch, context=context
            )
            competitor = {"implementation": row["implementation"], "ours/this": row["ours/this"]}
            rows.append(step | competitor | {"memory GB/s": bandwidth / 1e9})
    return rows


def run(
    size: str, *, batches: Sequence[int], contexts: Sequence[int], names: Sequence[str], dtype: str | None, out: Path,
    dtypes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Measure and record one size."""
    bark = Bark.from_config(BarkConfig.preset(size), jax.random.key(0), dtype=dtype)
    contestants = peers.enter(bark, size, names, out)
    settings = Settings.defaults(bark.config).replace(allow_early_stop=False)
    for other in dtypes:  # the same weights, rounded
        held = Bark.from_config(bark.config, jax.random.key(0), dtype=other)
        contestants[f"{peers.OURS} {other}"] = peers.Ours(held, settings)
    rows: list[Row] = []
    for batch, context in itertools.product(batches, contexts):
        rows += measure(bark, contestants, batch=batch, context=context)
    notes = f"Medians of {ROUNDS} interleaved calls of {STEPS} steps."
    record(f"decoding step, {size}", [peers.label(size, bark) | row for row in rows], notes, folder=out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    accelerator = jax.default_backend() != "cpu"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small", "large"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64] if accelerator else [1])
    parser.add_argument("--dtypes", nargs="*", default=[], help="of ours to measure too, as further implementations")
    parser.add_argument("--contexts", nargs="+", type=int, default=[400, 900])
    peers.add_options(parser)
    chosen = parser.parse_args(arguments)
    for size in chosen.sizes:
        run(
            size, batches=chosen.batches, contexts=chosen.contexts, names=chosen.peers, dtype=chosen.dtype,
            out=chosen.out, dtypes=chosen.dtypes,
        )  # fmt: skip
        peers.release()


if __name__ == "__main__":
    main()
