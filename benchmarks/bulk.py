"""Does `bark-jax bulk` cost anything beside the batches in it?

    python -m benchmarks.bulk [--model nano] [--rows 128] [--rounds 3] [--format flac]

The same rows in the same batches, spoken and dropped, and by a worker of the engine `local` into a folder, in turns.
"""

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bark_jax.bulk.engines import Work, Worker
from bark_jax.bulk.output import FORMATS
from bark_jax.bulk.rows import Row
from bark_jax.bulk.run import make_plan, open_folder
from bark_jax.bulk.speaking import speak_all
from benchmarks.harness import FOLDER, interleaved, record

TEXTS = ("It is nine.", "It is cold today.", "I like tea. It is cold today.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", default="flac", choices=FORMATS)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    rows = [Row(id=f"row{n}", text=TEXTS[n % len(TEXTS)], seed=n) for n in range(options.rows)]
    with tempfile.TemporaryDirectory() as parent:
        work = Work(
            source=options.model, name=options.model, folder=Path(parent), format=options.format, batch_size=None
        )
        worker, folders = Worker(work), (Path(parent) / str(n) for n in itertools.count())
        plan = make_plan(work.folder, work.format, work.name, rows, [])

        def batches() -> None:
            for _, own in plan.chunks:
                speak_all(worker.bark, own, worker.bark.engine.batch_size)

        def bulk() -> None:
            fresh = replace(plan, folder=next(folders))
            worker.work = replace(work, folder=fresh.folder)
            for chunk in open_folder(fresh):
                worker.make(chunk)

        taken = interleaved({"batches alone": batches, f"bulk --format {options.format}": bulk}, options.rounds)
    medians = {name: statistics.median(own) for name, own in taken.items()}
    alone = medians["batches alone"]
    table = [
        {
            "way": name,
            "rows / s": round(options.rows / median, 3),
            "throughput of the batches": round(alone / median, 3),
        }
        for name, median in medians.items()
    ]
    note = f"{options.rows} rows, medians of {options.rounds} rounds."
    record(f"bulk {options.model}", table, note, folder=options.out)


if __name__ == "__main__":
    main()
