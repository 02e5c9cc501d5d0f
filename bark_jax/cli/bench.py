"""`bark-jax bench`: how fast Bark is on this machine."""

import argparse

from bark_jax.cli.console import note, print_json
from bark_jax.cli.models import find_model
from bark_jax.cli.options import add_machine, use_compile_cache
from bark_jax.config import RANDOM
from bark_jax.settings import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.add_argument("--model", default=RANDOM + "small", help="what to measure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the clip (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_machine(parser)


def _run(options: argparse.Namespace) -> None:
    Settings(max_seconds=options.seconds)  # complain before the model is loaded
    model = find_model(options.model)
    note(f"loading {options.model} …")
    from bark_jax import Bark, bench  # with JAX

    use_compile_cache(options)
    bark = Bark.from_pretrained(model.source, dtype=options.dtype, name=model.name)
    report = bench.measure(bark, options.seconds, lambda what: note(f"{what} …"))
    if options.json:
        print_json(report)
    else:
        print(bench.describe(report))
