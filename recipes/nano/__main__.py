"""`python -m recipes.nano --to work`: make the nano model, from sentences to its evaluation."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bark_jax.cli import run_command
from bark_jax.cli.console import note
from recipes.nano.recipe import Recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the recipe, or some of its steps; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m recipes.nano", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where everything is made")
    steps = ", ".join(Recipe(to=Path()).steps)
    parser.add_argument("--only", action="append", default=[], metavar="STEP", help=f"one of {steps}; may be repeated")
    for option, count, what in (
        ("--sounds", Recipe.sounds, "sentences for the stages that learn sounds"),
        ("--words", Recipe.words, "sentences for the semantic stage, which learns words"),
        ("--held-out", Recipe.held_out, "sentences to test with, at most"),
    ):
        parser.add_argument(option, type=int, default=count, metavar="N", help=f"{what} (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of every training, as in its TOML"
    )
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    recipe = Recipe(
        to=options.to, sounds=options.sounds, words=options.words, held_out=options.held_out,
        overrides=tuple(options.set), say=note,
    )  # fmt: skip
    recipe.run(options.only)


sys.exit(main())
