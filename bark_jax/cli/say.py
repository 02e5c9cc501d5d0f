"""`bark-jax say`: a text into an audio file, a figure, a voice, subtitles.

What can be refused is refused before the model is loaded; then load, speak, write, report.
"""

import argparse
import re
import time
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bark_jax.audio import check_output
from bark_jax.bark import RANDOM, Bark
from bark_jax.cli.console import note, print_json
from bark_jax.cli.options import (
    DEFAULT_MODEL,
    add_machine,
    add_sampling,
    add_text,
    chosen_settings,
    read_text,
    use_compile_cache,
)
from bark_jax.cli.progress import Bars
from bark_jax.cli.report import Run, as_json, describe, describe_setup, summarize
from bark_jax.cli.speech import add_speech, check_speech, is_speech, speak, write_speech
from bark_jax.config import BarkConfig
from bark_jax.figure import check_figure, draw, save_figure
from bark_jax.generation import Generation
from bark_jax.hub import HubUnreachableError
from bark_jax.inputs import check_seed
from bark_jax.interrupts import remembering_ctrl_c
from bark_jax.layouts import NANO
from bark_jax.measuring import compilations
from bark_jax.settings import Settings
from bark_jax.speech.speech import Speech
from bark_jax.text import normalize
from bark_jax.voices.library import voice_file
from bark_jax.voices.voice import Voice, VoiceError

DEFAULT_OUTPUT = Path("bark.wav")
_NANO_SPEAKS = (
    f"{NANO} speaks, the built-in model, at 16 kHz: it was taught 385 English words and mumbles at others; "
    f"for Bark itself: --model {DEFAULT_MODEL} (1.7 GB, downloaded once) or --model FOLDER"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    add_text(parser)
    parser.add_argument(
        "--model",
        help=f"a folder (./{NANO} if that is its name), a hub repository, {NANO} (the built-in model) or random:small "
        f"(default: {DEFAULT_MODEL}; {NANO} if the hub cannot be reached)",
    )
    parser.add_argument(
        "--voice", help="a name (see bark-jax voices --model …), an .npz file, or what three .npy files begin with"
    )
    _add_outputs(parser)
    _add_reports(parser)
    add_speech(parser)
    add_sampling(parser)
    add_machine(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is written")
    group.add_argument("-o", "--output", type=Path, metavar="FILE",
                       help=f".wav, .flac or .ogg (default: {DEFAULT_OUTPUT}, unless streamed or played)")  # fmt: skip
    group.add_argument("--figure", type=Path, metavar="FILE",
                       help="draw waveform, spectrogram and tokens: .png, .svg or .pdf")  # fmt: skip
    group.add_argument(
        "--save-voice", metavar="NAME",
        help="keep the clip (or its first piece) as a voice, in your library or in an .npz file",
    )  # fmt: skip
    group.add_argument("--force", action="store_true", help="let --save-voice replace a voice of that name")


def _add_reports(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is told")
    group.add_argument("--json", action="store_true", help="print what was made, and how, as JSON")
    choice = group.add_mutually_exclusive_group()
    choice.add_argument("--verbose", action="store_true", help="tell device, compilations, times and memory")
    choice.add_argument("--quiet", action="store_true", help="print errors and warnings only")


def _run(options: argparse.Namespace) -> None:
    text, settings = read_text(options), chosen_settings(options)
    normalize(text)  # complain of an empty one
    if options.output is None and not (options.stream or options.play):
        options.output = DEFAULT_OUTPUT
    _check(options, settings)
    use_compile_cache(options.compile_cache, quiet=options.quiet)
    bark, loaded = _load(options)
    with compilations() as programs:
        voice, result = _speak(bark, text, settings, options)
    if options.model == NANO and not options.quiet:
        _name_untaught(bark.tokenizer, result)
    files = _write(result, voice, bark, options)
    run = Run(
        model=options.model, bark=bark, loaded=loaded, programs=programs, voice=voice,
        settings=bark.settings.replace(**settings), result=result, files=files,
    )  # fmt: skip
    if options.json:
        print_json(as_json(run))
    if not options.quiet:
        note(describe(run) if options.verbose else summarize(run))


def _check(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Complain before the model is loaded."""
    if options.output is not None:
        check_output(options.output)
    check_speech(options)
    if options.figure is not None:
        check_figure(options.figure)
    if options.save_voice is not None:
        voice_file(options.save_voice, overwrite=options.force)
    Settings().replace(**settings)
    if options.seed is not None:
        check_seed(options.seed)


def _load(options: argparse.Namespace) -> tuple[Bark, float]:
    """The model, whose name is in the options then, and the seconds it took."""
    started = time.perf_counter()
    bark = _load_default(options) if options.model is None else _load_named(options)
    loaded = time.perf_counter() - started
    if options.model.startswith(RANDOM):
        note(f"{options.model} has random weights: out comes noise. For speech: --model {DEFAULT_MODEL}, or {NANO}")
    if options.verbose:
        note(describe_setup(bark))
    return bark, loaded


def _load_default(options: argparse.Namespace) -> Bark:
    """The default model, or the built-in one where the hub cannot be reached.

    Raises HubUnreachableError for a voice, asked for by name, that the built-in one does not have.
    """
    options.model = DEFAULT_MODEL
    try:
        return _load_named(options)
    except HubUnreachableError as error:
        bark = _open(NANO, options)
        try:
            for voice in (options.voice, *dict(options.speaker).values()):
                bark.find_voice(voice)
        except VoiceError as reason:
            error.add_note(f"({NANO}, the built-in model, cannot speak either: {reason})")
            raise error from None
        options.model = NANO
        note(f"warning: {DEFAULT_MODEL} cannot be reached: {_NANO_SPEAKS}")
        return bark


def _load_named(options: argparse.Namespace) -> Bark:
    bark = _open(options.model, options)
    if options.model == NANO and not options.quiet:
        note(_NANO_SPEAKS)
    return bark


def _open(model: str, options: argparse.Namespace) -> Bark:
    return Bark.from_pretrained(model, dtype=options.dtype, progress=not options.quiet)


def _speak(
    bark: Bark, text: str, settings: dict[str, Any], options: argparse.Namespace
) -> tuple[Voice | None, Generation | Speech]:
    voice = bark.find_voice(options.voice)
    with remembering_ctrl_c() as raise_again, Bars(bark.config, hidden=options.quiet) as bars:

        def report(stage: str, done: int, total: int) -> None:
            raise_again()
            bars.update(stage, done, total)

        if is_speech(bark, text, options):
            return voice, speak(bark, text, voice, settings, options, report)
        return voice, bark.generate(normalize(text), voice, seed=options.seed, progress=report, **settings)


def _name_untaught(tokenizer: Tokenizer, result: Generation | Speech) -> None:
    """Name the words that the built-in model was not taught: those that are no token of its own."""
    texts = [said.piece.text for said in result.pieces] if isinstance(result, Speech) else [result.text]
    vocabulary = tokenizer.get_vocab()
    words = re.findall(r"\b[a-z]{2,}\b", tokenizer.normalizer.normalize_str(" ".join(texts)))
    if untaught := sorted({word for word in words if word not in vocabulary}):
        note(f"{NANO} was not taught {', '.join(untaught)}: expect other words there, and around")


def _write(
    result: Generation | Speech, voice: Voice | None, bark: Bark, options: argparse.Namespace
) -> dict[str, Path]:
    """What there is on disk afterwards, by what it is."""
    files = {}
    if options.output is not None:
        result.save(options.output)
        files["path"] = options.output
    if isinstance(result, Speech):
        files |= write_speech(result, options)
    if options.figure is not None:
        save_figure(_draw(result, bark.config), options.figure)
        files["figure"] = options.figure
    if options.save_voice is not None:
        clip = result.clip(0) if isinstance(result, Speech) else result
        language = voice.metadata.language if voice else None  # of the voice that the clip continues
        files["saved_voice"] = clip.save_voice(
            options.save_voice, language=language, model=options.model, overwrite=options.force
        )
    return files


def _draw(result: Generation | Speech, config: BarkConfig) -> Any:
    if not isinstance(result, Speech):
        return draw(result, config=config)
    boundaries = [(said.start, said.piece.text) for said in result.pieces]
    return draw(result.timeline(config), boundaries=boundaries, title=result.text, config=config)
