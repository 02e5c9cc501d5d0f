"""What do all the figures come from? One command: the whole protocol, recorded part by part.

    python -m benchmarks [--only decode_step stages …] [--out FOLDER]

On two CPU cores it takes about an hour, most of it in transformers; there, only clips of 5 s are compared from text to
waveform, the others are spoken once and without peers. On an accelerator everyone takes part in everything.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from benchmarks import cold_start, decode_step, end_to_end, growth, limits, memory, peers, stages
from benchmarks.harness import FOLDER

Part = tuple[Callable[[Sequence[str]], None], Sequence[str]]

LOOPS = [peer for peer in peers.PEERS if peer != "transformers"]
ON_CPU: tuple[Part, ...] = (
    (decode_step.main, ["--sizes", "small", "--contexts", "400", "900"]),
    (decode_step.main, ["--sizes", "large", "--contexts", "400"]),
    (limits.main, []),
    (stages.main, ["--cases", "codec:10", "coarse:10:voice", "--once", *LOOPS]),
    (end_to_end.main, ["--cases", "5", "3", "10", "13.65", "10:voice", "5:x8", "5:x64", "--once", *LOOPS]),
    (
        end_to_end.main,
        ["--sizes", "large", "--cases", "3", "--against", "3", "--rounds", "1", "--peers", "transformers"],
    ),
    (cold_start.main, ["--sizes", "small"]),
    (growth.main, []),
    (memory.main, []),
)
ON_ACCELERATOR: tuple[Part, ...] = (
    (decode_step.main, []),
    (cold_start.main, ["--sizes", "small", "large"]),
    (end_to_end.main, []),
    (stages.main, ["--size", "small"]),
    (stages.main, ["--size", "large"]),
    (limits.main, ["--size", "small"]),
    (limits.main, ["--size", "large"]),
    (growth.main, []),
    (memory.main, []),
)


def main() -> None:
    """Run the parts; one that fails does not keep the others from running."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="SCRIPT", help="parts to run, by the names of their scripts")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    chosen = parser.parse_args()
    everything = ON_CPU if jax.default_backend() == "cpu" else ON_ACCELERATOR
    parts = [part for part in everything if not chosen.only or script(part) in chosen.only]
    failed, started = [], time.perf_counter()
    for number, part in enumerate(parts):
        run, arguments = part
        name = f"{script(part)} {' '.join(arguments)}"
        minutes = (time.perf_counter() - started) / 60
        print(f"[{minutes:.0f} min] part {number + 1} of {len(parts)}: {name}", file=sys.stderr)
        try:
            run([*arguments, "--out", str(chosen.out)])
        except Exception as error:
            failed.append(f"{name}: {peers.reason(error)}")
        peers.release()
    if failed:
        raise SystemExit("\n".join(failed))


def script(part: Part) -> str:
    """`decode_step` for its main."""
    return part[0].__module__.rpartition(".")[2]


if __name__ == "__main__":
    main()
