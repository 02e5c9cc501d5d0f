"""What do the compilers for TPUs and GPUs make of the programs, on a machine that has neither?

    pip install -e '.[compiled]'    # 0.44 GB to download, 1.3 GB installed
    python -m benchmarks.compiled [--targets v5e h100] [--sizes small large] [--batches 1 8 64] [--programs semantic …]

Every program is compiled for real, placed and scheduled, in a process of its own, and nothing is run. So the structure
and the memory are facts, and there are no times but the compiler's own. "at least ms" is arithmetic: kernels · 2.5 µs
on a GPU, or the bytes of the weights and the cache over the memory's bandwidth, whichever is more.

With two batches or more, the largest that fits is estimated too. `--mesh 4 2` spreads a program over 8 chips, as
("data", "model").
"""

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from bark_jax import BarkConfig
from bark_jax.bench import Row
from bark_jax.policy import Policy
from bark_jax.sharding import DATA, MODEL
from benchmarks import hlo, programs, targets
from benchmarks.fitting import largest_batches
from benchmarks.harness import FOLDER, record, row_of_process

LAUNCH = 2.5e-6  # seconds, of a kernel within a graph: between 2 and 3 µs
TIMEOUT = 1800.0  # seconds a program may take to compile


def place(target: str, mesh: Sequence[int] = (1, 1)) -> programs.Place:
    """Devices of a target, and what is decided by them."""
    devices = targets.devices(target, math.prod(mesh))
    axes = Mesh(np.array(devices).reshape(mesh), (DATA, MODEL)) if len(devices) > 1 else None
    return programs.Place(devices, Policy.of_platform(targets.TARGETS[target].platform, split=mesh[1] > 1), axes)


def compile_program(
    where: programs.Place, target: str, size: str, name: str, batch: int, dtype: str = "bfloat16"
) -> tuple[Row, hlo.Module]:
    """A row of the table, and the compiled module. Raises JaxRuntimeError for what does not compile."""
    config = BarkConfig.preset(size)
    program = programs.PROGRAMS[name](where, config, dtype, batch)
    lowered = program.function.lower(*program.arguments)
    started = time.perf_counter(), time.process_time()
    compiled = lowered.compile()
    seconds, processor = time.perf_counter() - started[0], time.process_time() - started[1]
    module = hlo.parse(compiled.as_text())
    row = {"compile s": seconds, "processor s": processor, **memory(compiled.memory_analysis())}
    row["float64"] = int(hlo.has_type(module, "f64"))
    found = hlo.step(module, program.cache)
    if found:
        row["kernels"] = found.kernels
    if program.cache and found:
        counts = found._asdict()
        row["cache MB"] = total_bytes(program.arguments[2].cache) / 1e6
        row |= {name.replace("_", " "): count for name, count in counts.items()}
        row["at least ms"] = at_least(target, program, found.kernels) * 1e3
    return row, module


def memory(analysis: Any) -> Row:
    """Bytes of a program by the compiler's account, in MB. The GPU's compiler does not say how large its code is."""
    arguments, temporaries = analysis.argument_size_in_bytes, analysis.temp_size_in_bytes
    code, aliased = analysis.generated_code_size_in_bytes, analysis.alias_size_in_bytes
    peak = arguments + temporaries + code + analysis.output_size_in_bytes - aliased
    return {
        "code MB": code / 1e6, "arguments MB": arguments / 1e6, "temporaries MB": temporaries / 1e6,
        "aliased MB": aliased / 1e6, "in all MB": peak / 1e6,
    }  # fmt: skip


def at_least(target: str, program: programs.Program, kernels: int) -> float:
    """Seconds below which a decoding step cannot take, estimated."""
    card = targets.TARGETS[target]
    network, state = program.arguments[0], program.arguments[2]
    moved = total_bytes((network.blocks, network.head, state.cache))  # all slots are read, filled or not
    return max(moved / card.bandwidth, kernels * LAUNCH if card.platform == "gpu" else 0)


def total_bytes(tree: Any) -> int:
    """Bytes of all arrays."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile all cases and record them, or one of them and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--targets", nargs="+", default=["v5e", "h100"], choices=list(targets.TARGETS))
    parser.add_argument("--sizes", nargs="+", default=["small", "large"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--programs", nargs="+", default=list(programs.PROGRAMS), choices=list(programs.PROGRAMS))
    parser.add_argument("--mesh", nargs=2, type=int, default=[1, 1], metavar=("DATA", "MODEL"), help="of TPU chips")
    parser.add_argument("--case", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    options = parser.parse_args(arguments)
    if options.case:
        target, size, name, batch, data, model = options.case
        where = place(target, (int(data), int(model)))
        print(json.dumps(compile_program(where, target, size, name, int(batch))[0]))
        return
    os.environ.update(targets.ENVIRONMENT)  # of the processes that compile
    rows: list[Row] = []
    for target, size, name, batch in itertools.product(
        options.targets, options.sizes, options.programs, options.batches
    ):
        print(f"{target} {size} {name} {batch} …", file=sys.stderr)
        case = (target, size, name, str(batch), *map(str, options.mesh))
        label = {"target": target, "size": size, "program": name, "batch": batch}
        rows.append(label | row_of_process("benchmarks.compiled", "--case", *case, timeout=TIMEOUT))
    spread = "" if math.prod(options.mesh) == 1 else f" On a mesh {options.mesh[0]} × {options.mesh[1]}."
    record("compiled for accelerators", rows, f"bfloat16. Compiled, never run.{spread}", folder=options.out)
    if fitting := largest_batches(rows):
        record("batches that fit accelerators", fitting, "Estimated from two batches each.", folder=options.out)


if __name__ == "__main__":
    main()
