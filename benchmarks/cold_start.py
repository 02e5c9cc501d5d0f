"""How long does a new process take from its start to its first audio, and how much memory does it need?

    python -m benchmarks.cold_start [--sizes small] [--seconds 5] [--dtype …]

The process imports the package, loads a converted checkpoint of full size and speaks twice; it is started with an empty
compilation cache, and again with what the first one left there. The checkpoint was just written, so that the operating
system still has it in memory.
"""

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bark_jax import Bark, compile_cache
from bark_jax.bench import Row
from bark_jax.measuring import peak_memory
from benchmarks.harness import FOLDER, record, row_of_process
from benchmarks.memory import write_zeros

TEXT = "The first words take the longest."


def speak(started: float, checkpoint: Path, cache: Path, seconds: float, dtype: str | None) -> Row:
    """What this process takes, which should have done nothing before. `started`: when it was, by the system's clock."""
    compile_cache.enable(cache)
    marks = [started, time.time()]
    bark = Bark.from_pretrained(checkpoint, dtype=dtype)
    marks.append(time.time())
    for _ in range(2):
        clip = bark.generate(TEXT, seed=0, max_seconds=seconds, allow_early_stop=False)
        marks.append(time.time())
    imports, load, first, again = (end - begin for begin, end in itertools.pairwise(marks))
    return {
        "audio s": clip.seconds,
        "import s": imports,
        "load s": load,
        "first clip s": first,
        "first audio s": imports + load + first,
        "next clip s": again,
        **{f"{place} GB": size / 1e9 for place, size in peak_memory().items()},
    }


def measure(size: str, seconds: float, dtype: str | None, cache: Path | None = None) -> Iterator[Row]:
    """Two processes, one after the other, with a compilation cache of their own or one that others have used."""
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary) / size
        write_zeros(checkpoint, size, dtype or "float32")
        for state in ("used by others" if cache else "empty", "warm"):
            cache = cache or Path(temporary) / "programs"
            arguments = (str(time.time()), str(checkpoint), str(cache), str(seconds), dtype or "")
            row = row_of_process("benchmarks.cold_start", "--speak", *arguments)
            yield {"size": size, "dtype": dtype or "default", "compile cache": state} | row


def main(arguments: Sequence[str] | None = None) -> None:
    """Start the processes and record what they say, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small"])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--dtype", help="of parameters and computation (default: float32 on CPU, else bfloat16)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    parser.add_argument(
        "--speak", nargs=5, metavar=("STARTED", "CHECKPOINT", "CACHE", "SECONDS", "DTYPE"), help=argparse.SUPPRESS
    )
    chosen = parser.parse_args(arguments)
    if chosen.speak:
        started, checkpoint, cache, seconds, dtype = chosen.speak
        print(json.dumps(speak(float(started), Path(checkpoint), Path(cache), float(seconds), dtype or None)))
        return
    rows = [row for size in chosen.sizes for row in measure(size, chosen.seconds, chosen.dtype)]
    record("cold start", rows, folder=chosen.out)


if __name__ == "__main__":
    main()
