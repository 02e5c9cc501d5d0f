"""`bark-jax bulk`: a list of texts into a folder, resumable, with any number of workers."""

import argparse
import importlib.util
import sys
from pathlib import Path

from bark_jax.bulk.output import FORMATS
from bark_jax.bulk.rows import FIELDS, load_parquet, read_rows
from bark_jax.bulk.run import close_folder, make_plan, open_folder
from bark_jax.cli.console import note
from bark_jax.cli.models import DEFAULT_MODEL, find_model
from bark_jax.cli.options import add_machine, use_compile_cache
from bark_jax.errors import FileError, InputError
from bark_jax.layouts import NANO


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.description = (
        f"Rows have the fields {', '.join(FIELDS[:5])} and those of Settings; only id and text are needed."
    )
    parser.add_argument("texts", help="a list: .jsonl, .csv or .parquet; - for JSON lines from standard input")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER",
                        help="where the audio goes; the same command continues what was interrupted")  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default="flac", help="a file each, or shards (default: flac)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes, each with the model (default: 1)"
    )
    parser.add_argument("--engine", choices=["local", "ray"], default="local",
                        help="workers: processes here, or actors on a Ray cluster that shares the folder")  # fmt: skip
    parser.add_argument("--batch-size", type=int, metavar="N", help="pieces made side by side (default: the device's)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"as for say, such as {NANO} (default: {DEFAULT_MODEL})")
    add_machine(parser)


def _run(options: argparse.Namespace) -> int:
    for name in ("workers", "batch_size"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be 1 or more, not {value}")
    if options.format == "parquet":
        load_parquet()
    if options.engine == "ray":
        find_ray()
    rows, bad = read_rows(options.texts, _read(options.texts))
    if not rows and not bad:
        raise InputError(f"{options.texts} has no rows")
    model = find_model(options.model)
    plan = make_plan(options.to, options.format, options.model, rows, bad)
    chunks = open_folder(plan)
    if chunks:
        _make(options, model.source, chunks, len(rows))
    errors, warned = close_folder(plan)
    if warned:
        note(f"{warned} rows were not spoken as they stand: see {plan.folder / 'warnings.jsonl'}")
    if errors:
        raise InputError(
            f"{errors} of {len(rows) + len(bad)} rows could not be spoken: see {plan.folder / 'errors.jsonl'}"
        )
    return 0


def find_ray() -> None:
    """Raise FileError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise FileError("the engine ray needs Ray: pip install 'bark-jax[ray]'")


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def _make(options: argparse.Namespace, source: str | Path, chunks: list, total: int) -> None:  # type: ignore[type-arg]
    from tqdm import tqdm

    from bark_jax.bulk.engines import Work, run_here, run_processes
    from bark_jax.bulk.ray import run_ray

    work = Work(
        source=source, name=options.model, folder=options.to.resolve(), format=options.format,
        batch_size=options.batch_size, dtype=options.dtype,
        compile_cache=options.compile_cache or not options.no_compile_cache,
    )  # fmt: skip
    missing = sum(len(rows) for _, rows in chunks)
    if missing < total:
        note(f"{total - missing} of {total} rows are there already")
    use_compile_cache(options)
    made = run_here(work, chunks)
    if options.engine == "ray":
        made = run_ray(work, chunks, options.workers)
    elif options.workers > 1:
        made = run_processes(work, chunks, options.workers)
    with tqdm(total=missing, unit="row", disable=None) as bar:
        for count in made:
            bar.update(count)
