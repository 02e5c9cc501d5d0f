"""Options that several commands share, in groups: each adds itself to a parser, and is read by its own function."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from bark_jax.cli.console import note
from bark_jax.text import TextError


def add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", help="what to say (default: --file, else standard input)")
    parser.add_argument("--file", metavar="FILE", help="read the text from a UTF-8 file, - for standard input")


def read_text(options: argparse.Namespace) -> str:
    """The text from wherever it is. Raises TextError."""
    if options.text is not None and options.file is not None:
        raise TextError("give the text or --file, not both")
    if options.text is not None:
        return str(options.text)
    if options.file in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():  # None: it was closed
            raise TextError('there is no text: bark-jax say "Hello", --file FILE, or standard input')
        data, name = sys.stdin.buffer.read(), "standard input"
    else:
        try:
            data, name = Path(options.file).read_bytes(), options.file
        except OSError as error:
            raise TextError(f"cannot read the text file {options.file}: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"{name} is not UTF-8 text: {error}") from error


def add_sampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--seed", type=int, metavar="N",
                       help="a whole number: the same one gives the same audio (default or -1: random)")  # fmt: skip
    group.add_argument("--temperature", type=float, metavar="T",
                       help="of semantic and coarse stage; 0: greedy (default: the model's, usually 0.7)")  # fmt: skip
    group.add_argument("--fine-temperature", type=float, metavar="T",
                       help="of the fine stage (default: the model's, usually 0.5)")  # fmt: skip
    group.add_argument("--top-k", type=int, metavar="K", help="sample from the K most probable tokens only")
    group.add_argument(
        "--top-p", type=float, metavar="P", help="sample from the most probable tokens of total probability P"
    )
    group.add_argument("--min-eos-p", type=float, metavar="P",
                       help="stop once the end is this probable (default: the model's, usually 0.2)")  # fmt: skip
    group.add_argument("--max-seconds", type=float, metavar="S", help="stop after S seconds of audio, in each piece")


def chosen_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line, by their names in Settings."""
    both = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    settings = {
        **{f"{stage}_{name}": value for stage in ("semantic", "coarse") for name, value in both.items()},
        "fine_temperature": options.fine_temperature,
        "min_eos_p": options.min_eos_p,
        "max_seconds": options.max_seconds,
    }
    return {name: value for name, value in settings.items() if value is not None}


def add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--dtype",
        choices=["float32", "bfloat16", "int8"],
        help="of the transformers' weights (default: float32 on CPUs, bfloat16 elsewhere)",
    )
    add_compile_cache(group)


def add_compile_cache(group: argparse._ArgumentGroup) -> None:
    choice = group.add_mutually_exclusive_group()
    choice.add_argument("--compile-cache", type=Path, metavar="DIR",
                        help="keep compiled programs in this folder (default: one in your cache folder)")  # fmt: skip
    choice.add_argument("--no-compile-cache", action="store_true", help="compile every program again, and keep none")


def use_compile_cache(options: argparse.Namespace, *, quiet: bool = False) -> None:
    """What the options of `add_compile_cache` ask for."""
    from bark_jax import compile_cache  # with JAX

    if options.no_compile_cache:
        compile_cache.disable()
        return
    if options.compile_cache is None and "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return  # JAX has a folder of its own
    folder = options.compile_cache or compile_cache.default_folder()
    fresh = not folder.exists()
    if compile_cache.enable(folder) and fresh and not quiet:
        note(f"compiled programs are kept in {folder}, for a faster start next time")
