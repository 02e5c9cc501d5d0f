"""`bark-jax respeak`: one piece of a spoken text, once more."""

import argparse
from pathlib import Path
from typing import Any

from bark_jax.audio import SUFFIXES, check_output
from bark_jax.cli.models import DEFAULT_MODEL, find_model
from bark_jax.cli.options import add_machine, add_sampling, chosen_settings
from bark_jax.cli.speech import add_clean, check_files, read_head
from bark_jax.inputs import choose_seed
from bark_jax.settings import Settings, SettingsError
from bark_jax.speech.cleaning import clean
from bark_jax.speech.marks import check_spoken
from bark_jax.text import normalize


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Speak one piece of a text again and join all pieces as before. Without --seed the piece gets its next take; "
        "without other sampling options, the settings it had."
    )
    parser.set_defaults(run=_run)
    parser.add_argument("story", type=Path, metavar="STORY.json", help="the report that `bark-jax say --report` wrote")
    parser.add_argument("piece", type=int, metavar="PIECE", help="which piece, counted from 0")
    parser.add_argument("--text", help="what the piece says instead")
    parser.add_argument("--model", help="the model that made the story (default: the one that the report names)")
    add_clean(parser)
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"the whole story: {', '.join(SUFFIXES)}")
    group.add_argument("--report", type=Path, metavar="FILE", help="the new report (default: STORY.json is replaced)")
    group.add_argument("--pieces", type=Path, metavar="FOLDER", help="every piece as a file of its own")
    group.add_argument("--srt", type=Path, metavar="FILE", help="subtitles")
    group.add_argument("--vtt", type=Path, metavar="FILE", help="subtitles")
    group.add_argument("--quiet", action="store_true", help="print errors and warnings only")
    add_sampling(parser)
    add_machine(parser)


def _run(options: argparse.Namespace) -> None:
    settings = chosen_settings(options)
    options.report = options.report or options.story
    _check(options, settings)
    model = find_model(options.model or _read_story(options), progress=not options.quiet)
    Settings.defaults(model.config).replace(**settings).check(model.config)
    from bark_jax.cli import speaking  # with JAX: nothing above needs it

    speaking.respeak(model, settings, options)


def _check(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Refuse what can be refused before a model is looked for."""
    _read_story(options)
    if options.text is not None:
        options.text = clean(options.text) if options.clean is not False else options.text
        check_spoken(normalize(options.text))
    if options.output is not None:
        check_output(options.output)
    check_files(options)
    Settings().replace(**settings)
    choose_seed(options.seed)


def _read_story(options: argparse.Namespace) -> str:
    """The name of the model that made the story. Raises FileError, and SettingsError for a piece that it lacks."""
    count, model = read_head(options.story)
    if not 0 <= options.piece < count:
        raise SettingsError(f"there is no piece {options.piece}: {options.story} has pieces 0 … {count - 1}")
    return model or DEFAULT_MODEL
