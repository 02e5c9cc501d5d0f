"""The command line: `bark-jax COMMAND`, a module for each command.

Results go to files and standard output, everything else to standard error. A command is a module of that name with
`add_options(parser)`, which also sets what runs: a function of the options that returns an exit code, or None for 0.
Nothing here imports JAX before the input has been checked, so that help and refusals come at once.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from bark_jax import __version__
from bark_jax.cli.console import drop_output, note, show_warning
from bark_jax.cli.parser import EXIT_CODES_HELP, Parser
from bark_jax.errors import DivergenceError, FileError, InputError, ListenerLeft, ModelError

EXIT_CODES: dict[type[BaseException], int] = {  # the first that fits
    DivergenceError: 5,
    FileError: 3,
    InputError: 2,  # as bad usage is to argparse
    ModelError: 4,
    ListenerLeft: 6,
    KeyboardInterrupt: 130,
}

_COMMANDS = {
    "say": "speak a text into an audio file",
    "respeak": "speak one piece of a text again",
    "convert": "convert a PyTorch checkpoint",
    "voices": "list, show, check and save voices",
    "bench": "measure how fast Bark is on this machine",
    "data": "prepare training data from recordings and their transcripts",
    "train": "train one of a model's networks",
    "detect": "tell whether audio was made by Bark",
    "bulk": "speak a list of texts into a folder",
    "serve": "serve an endpoint like OpenAI's, with a page",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Foreseen errors are one line on standard error, without a traceback."""
    return run_command(partial(_run, sys.argv[1:] if arguments is None else list(arguments)))


def run_command(command: Callable[[], int | None]) -> int:
    """Run it with one line for each error and warning; its exit code, None being 0, or that of the error."""
    show_source, warnings.showwarning = warnings.showwarning, show_warning
    try:
        return command() or 0
    except tuple(EXIT_CODES) as error:
        note(f"bark-jax: {_sentences(str(error) or 'interrupted', getattr(error, '__notes__', ()))}")
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    except BrokenPipeError:  # the reader of our output has seen enough
        drop_output()
        return 0
    finally:
        warnings.showwarning = show_source


def _sentences(message: str, notes: Sequence[str]) -> str:
    """The message of an error and what was added to it, in one line."""
    for added in notes:
        ended = added.startswith("(") or message.endswith((".", "?", "!", ")"))
        message = f"{message}{'' if ended else '.'} {added}"
    return message


def _run(arguments: Sequence[str]) -> int | None:
    if arguments[:1] == ["convert"]:  # has a parser of its own, as `python -m convert` needs it too
        from bark_jax.loading import converter

        convert = importlib.import_module(f"{converter().__name__}.__main__")
        return int(convert.main(arguments[1:]))
    options = _parser(arguments).parse_args(arguments)
    options.arguments = list(arguments)  # for messages that quote the command
    return options.run(options)


def _parser(arguments: Sequence[str]) -> Parser:
    """The parser for these arguments: of all commands it knows the names, and of theirs the options."""
    parser = Parser(
        prog="bark-jax",
        description="Text to speech, music and sound with Bark, in JAX.",
        epilog=EXIT_CODES_HELP,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, what in _COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name == chosen:
            importlib.import_module(f"bark_jax.cli.{name}").add_options(command)
    return parser
