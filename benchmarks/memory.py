"""How much memory does Bark need, and does loading hold more than one copy of the weights?

    python -m benchmarks.memory [--sizes small large] [--dtypes float32 bfloat16] [--seconds 1]

Each case loads a converted checkpoint of full size, and speaks a clip, in a process of its own. The host's peak counts
anonymous memory (`RssAnon`, sampled): pages mapped from the checkpoint can be dropped at any time. On a CPU the
device's memory is the host's, so that offloading saves none and is not run. The files were just written: the load times
are those of a warm page cache.
"""

import argparse
import contextlib
import itertools
import json
import math
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bark_jax import Bark, BarkConfig
from bark_jax.bench import Row
from bark_jax.checkpoint import DTYPES, write_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.measuring import peak_memory
from bark_jax.models.parameters import parameter_shapes
from bark_jax.text import builtin_tokenizer
from benchmarks.harness import FOLDER, record, row_of_process

_SAMPLED_EVERY = 0.005  # seconds


def write_zeros(folder: Path, size: str, dtype: str) -> None:
    """A checkpoint of the preset's size whose weights are all zero: memory does not depend on values."""
    config = BarkConfig.preset(size)
    networks = {
        name: ((path, np.zeros(shape, np.float32)) for path, shape in parameter_shapes(config, name).items())
        for name in NETWORKS
    }
    write_checkpoint(folder, config, networks, tokenizer_json=builtin_tokenizer().to_str(), dtype=dtype)


def parameter_bytes(size: str, dtype: str) -> dict[str, int]:
    """Bytes of each network's weights; the codec's are float32 always."""
    config = BarkConfig.preset(size)
    return {
        name: sum(map(math.prod, parameter_shapes(config, name).values()))
        * jnp.dtype("float32" if name == "codec" else dtype).itemsize
        for name in NETWORKS
    }


@contextlib.contextmanager
def anonymous_peak() -> Iterator[list[int]]:
    """A list whose one entry becomes the most anonymous memory, in bytes, of this process during the block."""
    peak, done = [anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLED_EVERY):
            peak[0] = max(peak[0], anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def anonymous() -> int:
    """Anonymous memory of this process now, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def measure(folder: Path, dtype: str, offload: bool, seconds: float) -> Row:
    """Load and speak in this process, which should have done nothing else before."""
    jax.devices()  # the memory of the interpreter and of JAX itself is not the model's
    compute = "float32" if jax.default_backend() == "cpu" else dtype
    before, started = anonymous(), time.perf_counter()
    with anonymous_peak() as loading:
        bark = Bark.from_pretrained(folder, dtype=compute, param_dtype=dtype, offload=offload)
        jax.block_until_ready([getattr(bark, name) for name in NETWORKS])
    loaded = time.perf_counter() - started
    with anonymous_peak() as speaking:
        clip = bark.generate("Hello", seed=0, max_seconds=seconds, allow_early_stop=False)
    device = peak_memory().get("device")
    return {
        "load s": loaded,
        "loading: host GB": (loading[0] - before) / 1e9,
        "speaking: host GB": (speaking[0] - before) / 1e9,
        "device GB": device and device / 1e9,
        "clip s": sum(clip.timings.values()),
    }


def cases(sizes: Sequence[str], dtypes: Sequence[str], seconds: float) -> Iterator[Row]:
    """Every size and dtype, with all networks on the device and, on an accelerator, with one at a time."""
    choices = (False,) if jax.default_backend() == "cpu" else (False, True)
    for size, dtype in itertools.product(sizes, dtypes):
        parameters = parameter_bytes(size, dtype)
        weights = {
            "weights GB": sum(parameters.values()) / 1e9,
            "of the largest network": max(parameters.values()) / 1e9,
        }
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / size
            write_zeros(folder, size, dtype)
            for offload in choices:
                print(f"{size} {dtype} offload={offload} …", file=sys.stderr)
                case = {"size": size, "dtype": dtype, "offload": offload}
                arguments = (str(folder), dtype, str(int(offload)), str(seconds))
                yield {**case, **weights, **row_of_process("benchmarks.memory", "--case", *arguments)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases and record them, or one of them and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small", "large"])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES), help="of the stored weights")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of the clip")
    parser.add_argument("--case", nargs=4, metavar=("FOLDER", "DTYPE", "OFFLOAD", "SECONDS"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    options = parser.parse_args(arguments)
    if options.case:
        folder, dtype, offload, seconds = options.case
        print(json.dumps(measure(Path(folder), dtype, bool(int(offload)), float(seconds))))
        return
    record("memory", [*cases(options.sizes, options.dtypes, options.seconds)], folder=options.out)


if __name__ == "__main__":
    main()
