"""What `bark-jax say` does with a text of any length: it is spoken in pieces, and may be heard while it is made."""

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bark_jax.audio import AudioError, pcm_bytes
from bark_jax.cli.console import note
from bark_jax.cli.models import Cast
from bark_jax.files import check_writable, replacing
from bark_jax.settings import SettingsError
from bark_jax.speech.delivery import KEEP_VOICE, Delivery
from bark_jax.speech.sentences import LANGUAGES
from bark_jax.speech.speech import Speech
from bark_jax.speech.streaming import Stream
from bark_jax.voices.names import NO_VOICE

if TYPE_CHECKING:
    from bark_jax.bark import Bark
    from bark_jax.stages.progress import StageProgress

STDOUT = "-"

_PLAYERS = {  # of raw PCM from standard input; the first that is installed plays
    "aplay": "-q -t raw -f S16_LE -c 1 -r {rate} -",
    "paplay": "--raw --format=s16le --channels=1 --rate={rate}",
    "play": "-q -t raw -e signed -b 16 -c 1 -r {rate} -",
    "ffplay": "-loglevel error -nodisp -autoexit -f s16le -ch_layout mono -ar {rate} -i -",
}

Sink: TypeAlias = Callable[[bytes], object]  # takes PCM as it comes


def add_speech(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "texts of any length", "A text that is too long for one clip, or has any of these options, is spoken in pieces."
    )
    group.add_argument("--speaker", action="append", type=_speaker, default=[], metavar="NAME[=VOICE]",
                       help='who speaks the lines that begin with "NAME: "; once for each')  # fmt: skip
    group.add_argument("--language", choices=LANGUAGES, help="of the text, for its sentences (default: en)")
    group.add_argument("--keep-voice", choices=KEEP_VOICE, help="from one piece to the next (default: fixed)")
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="pieces made side by side (default: 1 on CPUs, 4 elsewhere)"
    )
    group.add_argument("--best-of", type=int, metavar="N", help="speak every piece N times and keep the best take")
    group.add_argument("--stream", metavar="FILE",
                       help="write raw PCM (16 bits, mono) while it is made; - for standard output")  # fmt: skip
    group.add_argument("--play", action="store_true", help=f"play it while it is made, with {_names(_PLAYERS)}")
    for name in ("srt", "vtt"):
        group.add_argument(f"--{name}", type=Path, metavar="FILE", help="also write subtitles")
    group.add_argument("--report", type=Path, metavar="FILE",
                       help="write what was made, as JSON, while it is made: if the work is interrupted, the same "
                       "command continues it")  # fmt: skip
    group.add_argument("--pieces", type=Path, metavar="FOLDER",
                       help="write every piece to a file of its own, while they are made")  # fmt: skip


def _speaker(text: str) -> tuple[str, str | None]:
    """A name and a voice; None for one who keeps that of his own first piece."""
    name, equals, voice = text.partition("=")
    if not name or (equals and not voice):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME=VOICE")
    return name, voice or None


def delivery_of(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Delivery` given on the command line. Raises SettingsError."""
    names = ("language", "keep_voice", "batch_size", "best_of")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    Delivery(**given)
    return given


def is_speech(bark: "Bark", text: str, options: argparse.Namespace) -> bool:
    """Whether the text is to be spoken in pieces."""
    asked = (options.speaker, options.stream, options.play, options.srt, options.vtt, options.report, options.pieces)
    return bool(delivery_of(options)) or any(asked) or len(bark.cut(text).pieces) > 1


def check_speech(options: argparse.Namespace) -> None:
    """Complain before the model is loaded."""
    delivery_of(options)
    if twice := [name for name, count in Counter(name for name, _ in options.speaker).items() if count > 1]:
        raise SettingsError(f"--speaker names {', '.join(twice)} more than once: give each speaker one voice")
    if options.stream == STDOUT and options.json:
        raise SettingsError("--stream - and --json both write to standard output: give --stream a file")
    if options.play:
        _player()
    for path in filter(None, (options.srt, options.vtt, options.report)):
        try:
            check_writable(path)
        except OSError as error:
            raise AudioError(f"cannot write {path}: {error}") from error


def speak(
    bark: "Bark", text: str, cast: Cast, settings: dict[str, Any], options: argparse.Namespace,
    progress: "StageProgress",
) -> Speech:  # fmt: skip
    """Speak the text, to whoever listens meanwhile."""
    voice, speakers = cast[None] or NO_VOICE, {name: voice for name, voice in cast.items() if name is not None}
    arguments = {"voices": speakers, "seed": options.seed, "progress": progress}
    arguments |= {"report": options.report, "pieces": options.pieces} | delivery_of(options) | settings
    if options.report is not None and options.report.exists():
        if options.force:
            options.report.unlink()
        elif not options.quiet:
            note(f"{options.report} is there already: only what it lacks is spoken (--force starts over)")
    try:
        if not (options.stream or options.play):
            return bark.speak(text, voice, **arguments)
        return _stream(bark.stream(text, voice, **arguments), options)
    except KeyboardInterrupt as interrupt:
        if options.report is not None and options.report.exists():
            interrupt.add_note(f"({options.report} has what was made: the same command continues)")
        raise


def _stream(stream: Stream, options: argparse.Namespace) -> Speech:
    """Hand the audio to whoever listens, while it is made."""
    chunks = []
    with _sinks(options, stream.sample_rate) as sinks:
        for chunk in stream:
            chunks.append(chunk)
            for sink in sinks:
                sink(pcm_bytes(chunk))
    return stream.speech(chunks)


@contextmanager
def _sinks(options: argparse.Namespace, sample_rate: int) -> Iterator[list[Sink]]:
    with ExitStack() as open_sinks:
        sinks: list[Sink] = []
        if options.stream == STDOUT:
            sinks.append(_flushing(sys.stdout.buffer))
        elif options.stream:
            try:
                sinks.append(_flushing(open_sinks.enter_context(open(options.stream, "wb"))))
            except OSError as error:
                raise AudioError(f"cannot write {options.stream}: {error.strerror}") from error
        if options.play:
            sinks.append(open_sinks.enter_context(_playing(sample_rate)))
        yield sinks


def _flushing(file: Any) -> Sink:
    def write(data: bytes) -> None:
        file.write(data)
        file.flush()

    return write


@contextmanager
def _playing(sample_rate: int) -> Iterator[Sink]:
    """A player, which is waited for at the end. Raises AudioError when it fails."""
    command = _player()
    with subprocess.Popen([part.format(rate=sample_rate) for part in command], stdin=subprocess.PIPE) as player:
        assert player.stdin is not None
        try:
            yield _flushing(player.stdin)
        except BrokenPipeError:
            player.wait()
        except BaseException:
            player.kill()  # it has seconds of audio still to play
            raise
    if player.returncode:
        raise AudioError(f"{command[0]} stopped playing (exit code {player.returncode}): use -o FILE instead of --play")


def _player() -> list[str]:
    """The command of the first player there is. Raises AudioError."""
    for name, arguments in _PLAYERS.items():
        if shutil.which(name):
            return [name, *arguments.split()]
    raise AudioError(f"there is no player: install one of {_names(_PLAYERS)}, or use -o FILE instead of --play")


def _names(players: dict[str, str]) -> str:
    return ", ".join(players)


def write_speech(speech: Speech, options: argparse.Namespace) -> dict[str, Path]:
    """What there is on disk afterwards besides the whole, by what it is. Raises AudioError, SpeechError."""
    files = {}
    for name, make in (("srt", speech.srt), ("vtt", speech.vtt)):
        path = getattr(options, name)
        if path is not None:
            files[name] = path
            try:
                with replacing(path) as temporary:
                    temporary.write_text(make(), encoding="utf-8")
            except OSError as error:
                raise AudioError(f"cannot write {path}: {error}") from error
    written = {"report": options.report, "pieces": options.pieces}  # while they were made
    return files | {name: path for name, path in written.items() if path is not None}
