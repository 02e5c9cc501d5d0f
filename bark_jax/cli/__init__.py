"""The command line: `bark-jax say | convert | voices | bench | data | train`, a module for each.

Results go to files and standard output, everything else to standard error. A command is a module with
`add_options(parser)`, which also sets what runs, and with errors of the kinds below.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from bark_jax.audio import AudioError
from bark_jax.checkpoint import CheckpointError
from bark_jax.cli import bench, data, say, train, voices
from bark_jax.cli.console import note, show_warning
from bark_jax.config import ConfigError
from bark_jax.errors import DivergenceError, RunError, TrainingError
from bark_jax.figure import FigureError
from bark_jax.loading import converter
from bark_jax.settings import SettingsError
from bark_jax.speech.speech import SpeechError
from bark_jax.text import TextError
from bark_jax.voices.voice import VoiceError

EXIT_CODES: dict[type[BaseException], int] = {
    RunError: 3,  # of the kinds of TrainingError, which come first
    DivergenceError: 5,  # training cannot go on
    TextError: 2,  # bad input, as bad usage is to argparse
    VoiceError: 2,
    SettingsError: 2,
    TrainingError: 2,
    AudioError: 3,  # the output cannot be written
    FigureError: 3,
    SpeechError: 3,
    CheckpointError: 4,  # no such model, or not a usable one
    ConfigError: 4,
    KeyboardInterrupt: 130,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Foreseen errors are told on standard error, without a traceback."""
    return run_command(partial(_run, sys.argv[1:] if arguments is None else list(arguments)))


def run_command(command: Callable[[], int | None]) -> int:
    """Run it with errors and warnings told in a line each; its exit code, None being 0, or that of the error."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            return command() or 0
    except tuple(EXIT_CODES) as error:
        note(" ".join([f"bark-jax: {str(error) or 'interrupted'}", *getattr(error, "__notes__", ())]))
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        return 0


def _run(arguments: Sequence[str]) -> int | None:
    if arguments[:1] == ["convert"]:  # has a parser of its own, as `python -m convert` needs it too
        convert = importlib.import_module(f"{converter().__name__}.__main__")
        return int(convert.main(arguments[1:]))
    options = _parser().parse_args(arguments)
    options.run(options)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bark-jax",
        description="Text to speech, music and sound with Bark, in JAX.",
        epilog="Exit codes: 0 done, 2 bad usage or input, 3 output not writable, 4 no usable model, "
        "5 training diverged, 130 interrupted.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    say.add_options(commands.add_parser("say", help="speak a text into an audio file"))
    commands.add_parser("convert", help="convert a PyTorch checkpoint (see bark-jax convert --help)")
    voices.add_options(commands.add_parser("voices", help="list, show, check and save voices"))
    bench.add_options(
        commands.add_parser("bench", help="measure how fast Bark is on this machine, in two minutes or so")
    )
    data.add_options(commands.add_parser("data", help="make training data of recordings and their transcripts"))
    train.add_options(commands.add_parser("train", help="train one of a model's networks"))
    return parser
