"""The work of `bark-jax say`, once its input has been checked: load, speak, write, report."""

import argparse
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bark_jax.audio import AudioError
from bark_jax.bark import Bark
from bark_jax.cli.console import note, print_json
from bark_jax.cli.listeners import Listeners
from bark_jax.cli.models import DEFAULT_MODEL, Cast, Model
from bark_jax.cli.options import use_compile_cache
from bark_jax.cli.progress import Bars
from bark_jax.cli.report import Run, as_json, describe, describe_setup, summarize
from bark_jax.cli.speech import delivery_of
from bark_jax.config import RANDOM, BarkConfig
from bark_jax.errors import BarkError
from bark_jax.figure import draw, save_figure
from bark_jax.files import replacing
from bark_jax.generation import Generation
from bark_jax.hearing.word_files import words_srt, words_vtt
from bark_jax.inputs import choose_seed
from bark_jax.interrupts import remembering_ctrl_c
from bark_jax.layouts import NANO
from bark_jax.measuring import compilations
from bark_jax.speech.delivery import FOR_CUTTING
from bark_jax.speech.script import Script
from bark_jax.speech.speech import Speech
from bark_jax.speech.streaming import Stream
from bark_jax.stages.progress import StageProgress
from bark_jax.voices.voice import Voice

_NANO_SPEAKS = (
    f"{NANO} is the small built-in model: a few hundred English words at 16 kHz. "
    f"For Bark itself: --model {DEFAULT_MODEL} (1.7 GB, downloaded once) or --model FOLDER"
)


def say(text: str, model: Model, cast: Cast, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Speak a text with a model and its voices, by what the options call them, and write what they ask for."""
    use_compile_cache(options, quiet=options.quiet)
    bark, loaded = load(model, options)
    with compilations() as programs:
        result, left = _speak(bark, text, cast, settings, options)
    voice = bark.find_voice(options.voice)
    files = _write(result, voice, bark, model.name, options)
    run = Run(
        model=model.name, bark=bark, loaded=loaded, programs=programs, voice=voice,
        settings=bark.settings.replace(**settings), result=result, files=files,
    )  # fmt: skip
    if options.json:
        print_json(as_json(run))
    if not options.quiet:
        note(describe(run) if options.verbose else summarize(run))
    if left is not None:
        left.add_note(f"Written in full: {', '.join(map(str, files.values())) or 'the report'}.")
        raise left


def respeak(model: Model, settings: dict[str, Any], options: argparse.Namespace) -> None:
    """Speak a piece of a story again, by what the options of `bark-jax respeak` call it, and write the whole."""
    use_compile_cache(options, quiet=options.quiet)
    bark, _ = load(model, options)
    seed = None if options.seed is None else choose_seed(options.seed)
    with _watched(bark, options) as progress:
        speech = bark.respeak(
            options.story, options.piece, text=options.text, clean=False, seed=seed, progress=progress, **settings
        )
    if options.output is not None:
        speech.save(options.output)
    if options.pieces is not None:
        speech.save_pieces(options.pieces)
    speech.save_report(options.report)
    files = _write_speech(speech, options)
    if not options.quiet:
        said = speech.pieces[options.piece]
        note(f"piece {options.piece}: {said.end - said.start:.2f} s of audio, take {said.take}, seed {said.seed}")
        note("\n".join(map(str, [*filter(None, [options.output]), *files.values()])))


@contextmanager
def _watched(bark: Bark, options: argparse.Namespace) -> Iterator[StageProgress]:
    """What to call as the work advances: it shows progress, and ends the work after Ctrl-C."""
    with remembering_ctrl_c() as raise_again, Bars(bark.config, hidden=options.quiet) as bars:

        def report(stage: str, done: int, total: int) -> None:
            raise_again()
            bars.update(stage, done, total)

        yield report


def load(model: Model, options: argparse.Namespace) -> tuple[Bark, float]:
    """The model, and the seconds it took."""
    if model.name == NANO and not options.quiet:
        note(_NANO_SPEAKS)
    started = time.perf_counter()
    bark = Bark.from_pretrained(model.source, dtype=options.dtype, progress=not options.quiet, name=model.name)
    loaded = time.perf_counter() - started
    if model.name.startswith(RANDOM):
        note(f"{model.name} has random weights and makes noise. For speech: --model {DEFAULT_MODEL}, or {NANO}")
    if getattr(options, "verbose", False):
        note(describe_setup(bark))
    return bark, loaded


def _speak(
    bark: Bark, text: str, cast: Cast, settings: dict[str, Any], options: argparse.Namespace
) -> tuple[Generation | Speech, BarkError | None]:
    """What is said, and why somebody who heard it left early. Raises ListenerLeft where that leaves nothing to do."""
    with _watched(bark, options) as report:
        script = bark.cut(text, cast[None], voices=_speakers(cast), **_delivery(options, about_text=True))
        if options.verbose:
            note(f"language       {script.language.tag}, {script.language.reason}")
        if _is_speech(script, options):
            speech, left = _speak_pieces(bark, script, cast, settings, options, report, wanted=_writes(options))
            speech = bark.time_words(speech, text) if options.word_times else speech
            if left is not None and not _writes(options):
                raise left
            return speech, left
        clip = bark.generate(
            script.pieces[0].text,
            cast[None],
            seed=options.seed,
            progress=report,
            word_times=options.word_times,
            **settings,
        )  # fmt: skip
        return clip, None


def _speakers(cast: Cast) -> dict[str, Any]:
    return {name: voice for name, voice in cast.items() if name is not None}


def _delivery(options: argparse.Namespace, *, about_text: bool) -> dict[str, Any]:
    """What the options say of the text, or of all else."""
    return {name: value for name, value in delivery_of(options).items() if (name in FOR_CUTTING) == about_text}


def _is_speech(script: Script, options: argparse.Namespace) -> bool:
    """Whether the text is to be spoken in pieces."""
    asked = (options.speaker, options.stream, options.play, options.srt, options.vtt, options.report, options.pieces)
    return bool(delivery_of(options).keys() - {"clean"}) or any(asked) or not script.is_plain


def _speak_pieces(
    bark: Bark, script: Script, cast: Cast, settings: dict[str, Any], options: argparse.Namespace,
    progress: StageProgress, *, wanted: bool,
) -> tuple[Speech, BarkError | None]:  # fmt: skip
    """Speak the text to all listeners; also why one of them left early.

    wanted: whether the speech is of use without them; otherwise the work stops when the last one leaves.
    """
    arguments = {"voices": _speakers(cast), "seed": options.seed, "progress": progress}
    arguments |= {"report": options.report, "pieces": options.pieces} | _delivery(options, about_text=False) | settings
    if options.report is not None and options.report.exists():
        if options.force:
            options.report.unlink()
        elif not options.quiet:
            note(f"{options.report} is there already: only what it lacks is spoken (--force starts over)")
    try:
        if not (options.stream or options.play):
            return bark.speak(script, cast[None], **arguments), None
        return _hear(bark.stream(script, cast[None], **arguments), options, wanted=wanted)
    except KeyboardInterrupt as interrupt:
        if options.report is not None and options.report.exists():
            interrupt.add_note(f"({options.report} has what was made: the same command continues)")
        raise


def _hear(stream: Stream, options: argparse.Namespace, *, wanted: bool) -> tuple[Speech, BarkError | None]:
    """Hand the audio to all listeners while it is made."""
    chunks = []
    listeners = Listeners(options.stream, play=options.play, sample_rate=stream.sample_rate)
    with closing(iter(stream)) as audio, listeners:
        for chunk in audio:
            chunks.append(chunk)
            if not (listeners.hear(chunk) or wanted):
                break
    return stream.speech(chunks), listeners.failure


def _write_speech(speech: Speech, options: argparse.Namespace) -> dict[str, Path]:
    """What there is on disk afterwards besides the whole, by what it is. Raises AudioError, SpeechError."""
    files = {}
    makers = {"srt": speech.srt, "vtt": speech.vtt}
    if speech.words is not None:
        makers = {"srt": partial(words_srt, speech.words), "vtt": partial(words_vtt, speech.words)}
    for name, make in makers.items():
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


def _writes(options: argparse.Namespace) -> bool:
    """Whether anything is to be written besides a stream."""
    files = ("output", "figure", "save_voice", "srt", "vtt", "report", "pieces")
    return options.json or any(getattr(options, name) is not None for name in files)


def _write(
    result: Generation | Speech, voice: Voice | None, bark: Bark, model: str, options: argparse.Namespace
) -> dict[str, Path]:
    """What there is on disk afterwards, by what it is."""
    files = {}
    if options.output is not None:
        result.save(options.output)
        files["path"] = options.output
    if isinstance(result, Speech):
        files |= _write_speech(result, options)
    if options.figure is not None:
        save_figure(_draw(result, bark.config), options.figure)
        files["figure"] = options.figure
    if options.save_voice is not None:
        clip = result.clip(0) if isinstance(result, Speech) else result
        language = voice.metadata.language if voice else None  # of the voice that the clip continues
        files["saved_voice"] = clip.save_voice(
            options.save_voice, language=language, model=model, overwrite=options.force
        )
    return files


def _draw(result: Generation | Speech, config: BarkConfig) -> Any:
    words = [(word.start, word.text) for word in result.words or ()]
    if not isinstance(result, Speech):
        return draw(result, boundaries=words, config=config)
    boundaries = words or [(said.start, said.piece.text) for said in result.pieces]
    return draw(result.timeline(config), boundaries=boundaries, title=result.text, config=config)
