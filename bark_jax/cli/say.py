"""`bark-jax say`: a text into an audio file, a figure, a voice, subtitles.

What can be refused is refused before the model is loaded; then load, speak, write, report.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from bark_jax.audio import SUFFIXES, check_output
from bark_jax.checkpoint import HubUnreachableError
from bark_jax.cli.models import DEFAULT_MODEL, Cast, Model, find_speaking
from bark_jax.cli.options import add_machine, add_sampling, add_text, chosen_settings, read_text
from bark_jax.cli.parser import EXIT_CODES_HELP
from bark_jax.cli.speech import add_speech, check_speech, read_head
from bark_jax.figure import check_figure
from bark_jax.inputs import choose_seed
from bark_jax.layouts import NANO
from bark_jax.settings import Settings
from bark_jax.speech.cleaning import clean
from bark_jax.speech.marks import check_marks, check_spoken
from bark_jax.text import normalize
from bark_jax.voices.library import voice_file

DEFAULT_OUTPUT = Path("bark.wav")
_LONGEST = 200  # characters of a command that a message quotes


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    parser.usage = "%(prog)s [options] [text]"
    parser.epilog = EXIT_CODES_HELP
    add_text(parser)
    parser.add_argument(
        "--model",
        help=f"a folder (./{NANO} if that is its name), a hub repository, {NANO} (the small built-in model) or "
        f"random:small (default: {DEFAULT_MODEL}, a download of 1.7 GB; exit code 4 if the hub cannot be reached)",
    )
    parser.add_argument(
        "--fallback", metavar="MODEL",
        help=f"a model to use instead, with a warning, if the hub cannot be reached, such as {NANO}",
    )  # fmt: skip
    parser.add_argument(
        "--voice",
        help="a name (see bark-jax voices), an .npz file, or the common beginning of three .npy files; "
        "none for no voice at all",
    )
    _add_outputs(parser)
    _add_reports(parser)
    add_speech(parser)
    add_sampling(parser)
    add_machine(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help=f"{', '.join(SUFFIXES)} (default: {DEFAULT_OUTPUT}; nothing with --play or --stream)",
    )  # fmt: skip
    group.add_argument("--figure", type=Path, metavar="FILE",
                       help="draw waveform, spectrogram and tokens: .png, .svg or .pdf")  # fmt: skip
    group.add_argument(
        "--save-voice", metavar="NAME",
        help="keep the clip (or its first piece) as a voice in your library, or in an .npz file",
    )  # fmt: skip
    group.add_argument(
        "--force", action="store_true", help="replace a voice of that name (--save-voice), start over (--report)"
    )


def _add_reports(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("messages")
    group.add_argument("--json", action="store_true", help="print what was made, and how, as JSON")
    choice = group.add_mutually_exclusive_group()
    choice.add_argument("--verbose", action="store_true", help="also print device, compilations, times and memory")
    choice.add_argument("--quiet", action="store_true", help="print errors and warnings only")


def _run(options: argparse.Namespace) -> None:
    text, settings = read_text(options), chosen_settings(options)
    normalize(text)  # complain of an empty one
    check_marks(text)
    check_spoken(text)
    if options.output is None and not (options.stream or options.play):
        options.output = DEFAULT_OUTPUT
    _check(options, settings)
    if options.clean is not False:
        text, options.clean = clean(text), False  # here, where a text that is only emoji is refused at once
    cast = {None: options.voice, **dict(options.speaker)}
    model = _find(options, cast)
    Settings.defaults(model.config).replace(**settings).check(model.config)
    from bark_jax.cli import speaking  # with JAX: nothing above needs it

    speaking.say(text, model, cast, settings, options)


def _check(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Refuse what can be refused before anything is looked for."""
    if options.output is not None:
        check_output(options.output)
    check_speech(options)
    if options.report is not None and options.report.exists() and not options.force:
        read_head(options.report)
    if options.figure is not None:
        check_figure(options.figure)
    if options.save_voice is not None:
        voice_file(options.save_voice, overwrite=options.force, model=options.model or DEFAULT_MODEL)
    Settings().replace(**settings)
    choose_seed(options.seed)


def _find(options: argparse.Namespace, cast: Cast) -> Model:
    """The model that the options name. Raises as `find_speaking` does."""
    try:
        return find_speaking(options.model or DEFAULT_MODEL, options.fallback, cast, progress=not options.quiet)
    except HubUnreachableError as error:
        if options.model is None and options.voice is None and options.fallback is None:
            error.add_note(f"The small built-in model speaks without network access: {_with_nano(options.arguments)}")
        raise


def _with_nano(arguments: list[str]) -> str:
    """The same command with the built-in model."""
    command = shlex.join(["bark-jax", "say", "--model", NANO, *arguments[1:]])
    return command if len(command) <= _LONGEST else f"bark-jax say --model {NANO} …"
