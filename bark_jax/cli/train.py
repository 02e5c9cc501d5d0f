"""`bark-jax train`: a network of a model, from prepared data."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bark_jax.cli.console import note
from bark_jax.cli.options import add_compile_cache, use_compile_cache
from bark_jax.config import NETWORKS


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.add_argument("stage", choices=NETWORKS, help="which of the four networks")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the settings, in TOML")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="overrides",
                        help="change a setting of the file, such as train.steps=100; may be repeated")  # fmt: skip
    parser.add_argument("--restart", action="store_true",
                        help="start again; without it, a stopped run resumes")  # fmt: skip
    add_compile_cache(parser.add_argument_group("machine"))


def _run(options: argparse.Namespace) -> None:
    from bark_jax.training.run_config import RunConfig

    config = RunConfig.load(options.config, options.overrides)
    from bark_jax.training.run import run_training  # imports JAX, once the settings are known to be good

    use_compile_cache(options)
    with _quiet_checkpoints():
        run_training(config, options.stage, restart=options.restart, say=note)


@contextmanager
def _quiet_checkpoints() -> Iterator[None]:
    """Orbax logs what it then raises, and drops writes that fail after the first: neither is news to the user.

    Changes logging and the report of lost exceptions for the whole process, so it is for the command, not the library.
    """
    logger, report = logging.getLogger("absl"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    sys.unraisablehook = lambda lost: None if str(lost.exc_value) == "Event loop is closed" else report(lost)
    try:
        yield
    finally:
        logger.setLevel(level)
        sys.unraisablehook = report
