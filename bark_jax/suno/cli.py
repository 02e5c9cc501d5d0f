"""Suno's command line, `python -m bark_jax.suno`, with the exit codes of `bark-jax`."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bark_jax import compile_cache
from bark_jax.audio import AudioError, check_output, write_audio
from bark_jax.cli import run_command
from bark_jax.inputs import choose_seed
from bark_jax.settings import Settings
from bark_jax.suno.api import generate_audio, save_as_prompt
from bark_jax.suno.generation import SAMPLE_RATE
from bark_jax.suno.loading import boolean, preload_models
from bark_jax.text import normalize


def main(arguments: Sequence[str] | None = None) -> int:
    """Speak as the arguments say; the exit code. Foreseen errors are one line on standard error."""
    options = _parser().parse_args(arguments)
    return run_command(partial(_speak, options))


def cli() -> None:
    """Suno's entry point: `main` with the arguments of the process, which ends with its exit code."""
    sys.exit(main())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bark_jax.suno",
        description="Speak a text into an audio file, with the flags of Suno's `python -m bark`.",
        epilog="SUNO_USE_SMALL_MODELS and SUNO_OFFLOAD_CPU are obeyed. `bark-jax say` can do more.",
    )
    parser.add_argument("--text", required=True, help="what to say")
    parser.add_argument("--output_filename", default="bark_generation.wav", metavar="FILE",
                        help=".wav, .flac, .ogg, .opus or .mp3 (default: %(default)s)")  # fmt: skip
    parser.add_argument("--output_dir", default=".", metavar="DIR", help="made if need be (default: %(default)s)")
    parser.add_argument("--history_prompt", metavar="VOICE", help="the name of a voice, or an .npz file")
    parser.add_argument("--text_temp", type=float, default=0.7, metavar="TEMPERATURE",
                        help="of the semantic tokens; 0 is greedy (default: %(default)s)")  # fmt: skip
    parser.add_argument("--waveform_temp", type=float, default=0.7, metavar="TEMPERATURE",
                        help="of the coarse codes; 0 is greedy (default: %(default)s)")  # fmt: skip
    _add_switch(parser, "--silent", "print errors and warnings only")
    _add_switch(parser, "--output_full", "also write an .npz file beside the audio, for --history_prompt")
    parser.add_argument("--model", help="not Suno's: a folder, a hub repository or random:small (default: suno/bark)")
    parser.add_argument("--seed", type=int, help="not Suno's: the same one gives the same audio")
    return parser


def _add_switch(parser: argparse.ArgumentParser, flag: str, what: str) -> None:
    parser.add_argument(flag, type=boolean, nargs="?", const=True, default=False, metavar="true|false", help=what)


def _speak(options: argparse.Namespace) -> None:
    path = Path(options.output_dir, options.output_filename)
    seed = choose_seed(options.seed)
    _check(options, path, seed)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        compile_cache.enable(compile_cache.default_folder())
    preload_models(model=options.model)
    full_generation, waveform = generate_audio(
        options.text, options.history_prompt, options.text_temp, options.waveform_temp, options.silent,
        output_full=True, seed=seed,
    )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    write_audio(path, waveform, SAMPLE_RATE)
    if options.output_full:
        save_as_prompt(path.with_suffix(".npz"), full_generation)
    if not options.silent:
        print(f"{path}: {len(waveform) / SAMPLE_RATE:.2f} s of audio, seed {seed}", file=sys.stderr)


def _check(options: argparse.Namespace, path: Path, seed: int) -> None:
    """Complain before a model is loaded."""
    normalize(options.text)
    Settings(semantic_temperature=options.text_temp, coarse_temperature=options.waveform_temp)
    nearest = next(folder for folder in path.parents if folder.exists())
    check_output(nearest / path.name)
