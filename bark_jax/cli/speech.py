"""What `bark-jax say` does with a text of any length: it is spoken in pieces, and may be heard while it is made."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from bark_jax.audio import AudioError
from bark_jax.cli.listeners import PLAYERS, STDOUT, check_listeners
from bark_jax.errors import FileError
from bark_jax.files import check_folder, check_writable
from bark_jax.settings import SettingsError
from bark_jax.speech.delivery import KEEP_VOICE, Delivery
from bark_jax.speech.labels import known_speakers
from bark_jax.speech.sentences import LANGUAGES


def add_speech(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "long texts", "A text that is too long for one clip is spoken in pieces; so is any text with these options."
    )
    group.add_argument("--speaker", action="append", type=_speaker, default=[], metavar="NAME[=VOICE]",
                       help='a speaker, whose lines begin with "NAME: "; may be repeated')  # fmt: skip
    group.add_argument(
        "--language",
        choices=LANGUAGES,
        metavar="TAG",
        help=f"of the text: {', '.join(LANGUAGES)} (default: the voice's, else a guess)",
    )
    group.add_argument(
        "--keep-voice", choices=KEEP_VOICE, help="how a speaker keeps a voice from piece to piece (default: fixed)"
    )
    add_clean(group)
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="pieces made side by side (default: 1 on CPUs, 4 elsewhere)"
    )
    group.add_argument("--best-of", type=int, metavar="N", help="speak every piece N times and keep the best take")
    group.add_argument("--stream", metavar="FILE",
                       help="write raw PCM (16 bits, mono) as it is made; - for standard output")  # fmt: skip
    group.add_argument("--play", action="store_true", help=f"play it as it is made, with {', '.join(PLAYERS)}")
    for name in ("srt", "vtt"):
        group.add_argument(f"--{name}", type=Path, metavar="FILE", help="write subtitles")
    group.add_argument("--word-times", "--srt-words", action="store_true",
                       help="find when each word is said: --srt and --vtt are by words, --json and --figure have "
                       "them too")  # fmt: skip
    group.add_argument("--report", type=Path, metavar="FILE",
                       help="write texts, seeds and tokens as JSON, piece by piece; after an interruption the same "
                       "command resumes; for bark-jax respeak")  # fmt: skip
    group.add_argument("--pieces", type=Path, metavar="FOLDER",
                       help="write every piece to a file of its own, as it is made")  # fmt: skip


def add_clean(group: argparse._ActionsContainer) -> None:
    group.add_argument("--clean", action=argparse.BooleanOptionalAction,
                       help="turn Markdown, typography and emoji into what can be read out (default: yes)")  # fmt: skip


def _speaker(text: str) -> tuple[str, str | None]:
    """A name and a voice; None for one who keeps that of their own first piece."""
    name, equals, voice = text.partition("=")
    if not name or (equals and not voice):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME=VOICE")
    return name, voice or None


def delivery_of(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Delivery` given on the command line. Raises SettingsError."""
    names = ("language", "clean", "keep_voice", "batch_size", "best_of")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    Delivery(**given)
    return given


def check_speech(options: argparse.Namespace) -> None:
    """Complain before the model is loaded."""
    delivery_of(options)
    if twice := [name for name, count in Counter(name for name, _ in options.speaker).items() if count > 1]:
        raise SettingsError(f"--speaker names {', '.join(twice)} more than once: give each speaker one voice")
    if options.stream == STDOUT and options.json:
        raise SettingsError("--stream - and --json both write to standard output: give --stream a file")
    check_listeners(options.stream, play=options.play)
    known_speakers([name for name, _ in options.speaker])
    check_files(options)


def check_files(options: argparse.Namespace) -> None:
    """Raise AudioError for subtitles, a report or a folder of pieces that cannot be written.

    Raises SettingsError for two outputs with one file.
    """
    _check_apart(options)
    checks = [(check_writable, path) for path in (options.srt, options.vtt, options.report)]
    for check, path in [*checks, (check_folder, options.pieces)]:
        try:
            if path is not None:
                check(path)
        except OSError as error:
            raise AudioError(f"cannot write {path}: {error}") from error


def read_head(report: Path) -> tuple[int, str | None]:
    """How many pieces a report has, and the model that made it. Raises FileError for what is no report."""
    try:
        story = json.loads(report.read_text(encoding="utf-8"))
        count, model = len(story["pieces"]), story.get("model")
    except OSError as error:
        raise FileError(f"cannot read the report {report}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(f"{report} is not a report of `bark-jax say --report`") from error
    return count, str(model) if model else None


def _check_apart(options: argparse.Namespace) -> None:
    taken: dict[Path, str] = {}
    for name in ("output", "stream", "srt", "vtt", "report", "figure", "save_voice"):
        given = getattr(options, name, None)
        if given is None or given == STDOUT or (name == "save_voice" and not str(given).endswith(".npz")):
            continue
        option, path = f"--{name.replace('_', '-')}", Path(given).expanduser().resolve()
        if path in taken:
            raise SettingsError(f"{taken[path]} and {option} would both write {given}: give each a file of its own")
        taken[path] = option
