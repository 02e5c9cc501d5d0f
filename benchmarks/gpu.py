"""What does a GPU do? Correctness, speed and profile in one run of under eight minutes, written down part by part.

    python -m benchmarks.gpu --out FOLDER [--smoke]

FOLDER gets a RESULTS.md and results/*.json after every part, so a run that is cut short keeps what it has. A part that
fails or outlasts its time is a row with the reason. `--smoke` goes through the same code, tiny, on any machine.
"""

import argparse
import contextlib
import functools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bark_jax import Bark, BarkConfig, Settings, bench, compile_cache
from bark_jax.bench import Row
from benchmarks import cold_start, decode_step, end_to_end, gpu_probes, peers
from benchmarks.harness import record

MINUTES = 7.5  # for all parts
BASELINE = "transformers"
Part = tuple[str, float, Callable[[], Iterator[Row]]]  # name, seconds at most, its rows as they come


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is."""

    small: str = "small"
    large: str = "large"
    dtype: str = "bfloat16"
    seconds: float = 10.0  # of a clip
    batches: tuple[int, ...] = (1, 8, 64)
    rounds: int = 5
    peers: Sequence[str] = peers.PEERS  # of the small model; the large one takes minutes to compile in PyTorch


SMOKE = Scale(
    small="tiny", large="tiny", dtype="float32", seconds=1.0, batches=(1, 2), rounds=1, peers=peers.PEERS[:2]
)  # fmt: skip


class OutOfTime(BaseException):
    """A part took too long. (No Exception, which on the way would be taken for a peer that fails.)"""


def parts(scale: Scale, programs: Path) -> list[Part]:
    """The most wanted first."""
    large, small, batch = scale.large, scale.small, scale.batches[-1]
    clip, many = end_to_end.Case(scale.seconds), end_to_end.Case(scale.seconds, batch=batch)
    return [
        ("numerics", 60, partial(numerics, scale)),
        ("one clip, large", 120, partial(clips, scale, large, clip)),
        ("decoding step, large", 90, partial(steps, scale, large)),
        ("many clips, large", 90, partial(clips, scale, large, many, alone=True)),
        ("cold start", 90, partial(cold_start.measure, large, scale.seconds, scale.dtype, programs)),
        ("decoding step, small", 90, partial(steps, scale, small)),
        ("one clip, small", 60, partial(clips, scale, small, clip)),
        ("profile, large", 30, lambda: gpu_probes.profile(entrants(scale, large)[0], large)),
        ("profile, small", 30, lambda: gpu_probes.profile(entrants(scale, small)[0], small)),
        ("graph capture of loops", 60, partial(gpu_probes.graph_capture, small, scale.dtype)),
        ("attention", 30, partial(gpu_probes.attention, large, scale.dtype, scale.rounds)),
        ("many clips, small", 60, partial(clips, scale, small, many, alone=True)),
    ]


def numerics(scale: Scale) -> Iterator[Row]:
    """The computation in `dtype` against float32: errors of outputs, and how often the most probable token agrees."""
    exact, rounded = (
        Bark.from_config(BarkConfig.preset(scale.small), jax.random.key(0), dtype=dtype)
        for dtype in ("float32", scale.dtype)
    )
    settings = Settings.defaults(exact.config)
    label = {"size": scale.small, "dtype": scale.dtype, "codec": str(jnp.result_type(*jax.tree.leaves(rounded.codec)))}
    yield label | peers.compare(peers.Ours(exact, settings), peers.Ours(rounded, settings), 300)
    for stage in bench.STAGES:
        tokens = np.random.default_rng(0).integers(0, exact.config.semantic.vocab, (1, 512), np.int32)
        best = [_most_probable(getattr(bark, stage), tokens) for bark in (exact, rounded)]
        yield label | {"stage": stage, "same most probable token": float((best[0] == best[1]).mean())}


@jax.jit
def _most_probable(gpt: Any, tokens: jax.Array) -> jax.Array:
    return gpt(gpt.embed(tokens)).argmax(-1)


@functools.cache
def entrants(scale: Scale, size: str) -> tuple[Bark, peers.Peers, list[Row]]:
    """A model with its peers and what is said about them, kept for the parts that follow."""
    names = [name for name in scale.peers if size == scale.small or name != peers.COMPILED]
    bark = Bark.from_config(BarkConfig.preset(size), jax.random.key(0), dtype=scale.dtype)
    contestants, about = peers.gather(bark, names)
    left_out = [{"implementation": name, "note": "not run: compiles for minutes"} for name in scale.peers]
    return bark, contestants, [*about, *(row for row in left_out if row["implementation"] not in names)]


def steps(scale: Scale, size: str) -> Iterator[Row]:
    """Decoding steps of everyone."""
    bark, contestants, about = entrants(scale, size)
    label = peers.label(size, bark)
    yield from (label | row for row in about)
    for batch in scale.batches:
        for row in decode_step.measure(bark, contestants, batch=batch, context=400, rounds=scale.rounds):
            yield label | row


def clips(scale: Scale, size: str, case: end_to_end.Case, *, alone: bool = False) -> Iterator[Row]:
    """Clips of ours and, if not alone, one of transformers."""
    bark, contestants, _ = entrants(scale, size)
    names = {peers.OURS} if alone else {peers.OURS, BASELINE}
    chosen = {name: peer for name, peer in contestants.items() if name in names}
    plan = end_to_end.Plan(
        cases=[case], against=[case], rounds=scale.rounds, rounds_alone=scale.rounds, once=[BASELINE], limit=np.inf
    )
    for row in end_to_end.measure(bark, chosen, case, plan, end_to_end.Pace()):
        yield peers.label(size, bark) | row


def run(part: Part, left: float, out: Path) -> None:
    """Record a part's rows, as far as it gets."""
    name, seconds, rows = part
    started, collected = time.perf_counter(), []
    try:
        with deadline(min(seconds, left)):
            for row in rows():
                collected.append(row)
    except (Exception, OutOfTime) as error:
        collected.append({"note": peers.reason(error)})
    record(f"GPU: {name}", collected, f"The part took {time.perf_counter() - started:.0f} s.", folder=out)


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the block after that many seconds, as soon as Python has its turn."""

    def stop(*_: object) -> None:
        raise OutOfTime(f"more than {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all parts within MINUTES."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true")
    chosen = parser.parse_args(arguments)
    end = time.perf_counter() + 60 * MINUTES
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")  # of the GPU's memory; the peers need theirs
    jax.devices()
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = "0.2"  # for the processes started from here
    with tempfile.TemporaryDirectory() as programs:
        compile_cache.enable(Path(programs))
        for part in parts(SMOKE if chosen.smoke else Scale(), Path(programs)):
            print(f"{(end - time.perf_counter()) / 60:.1f} min left: {part[0]}", file=sys.stderr, flush=True)
            run(part, end - time.perf_counter(), chosen.out)


if __name__ == "__main__":
    main()
