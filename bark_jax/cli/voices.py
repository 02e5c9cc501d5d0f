"""`bark-jax voices`: what voices there are."""

import argparse
from collections.abc import Sequence

from bark_jax.cli.console import note
from bark_jax.hub import resolve
from bark_jax.pipeline import RANDOM
from bark_jax.voice import VOICE_NAMES, list_voices


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.add_argument("--model", help="only the voices that came with this model")


def _run(options: argparse.Namespace) -> None:
    names: Sequence[str] = VOICE_NAMES
    if options.model:
        names = [] if options.model.startswith(RANDOM) else list_voices(resolve(options.model) / "voices")
        if not names:
            note(f"no voices came with {options.model}")
    print(*names, sep="\n", end="\n" if names else "", flush=True)
