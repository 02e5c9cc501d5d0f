"""The command line: `bark-jax say | convert | voices | bench`.

Results go to files and standard output, everything else to standard error.
"""

import argparse
import importlib
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

from bark_jax import bench, compile_cache
from bark_jax.audio import AudioError, check_output
from bark_jax.checkpoint import CheckpointError
from bark_jax.config import ConfigError
from bark_jax.generation import Generation
from bark_jax.hub import converter, resolve
from bark_jax.inputs import check_seed
from bark_jax.interrupts import remembering_ctrl_c
from bark_jax.pipeline import RANDOM, Bark
from bark_jax.settings import Settings, SettingsError
from bark_jax.text import TextError, normalize
from bark_jax.voice import VOICE_NAMES, VoiceError, list_voices

DEFAULT_MODEL = "suno/bark-small"
EXIT_CODES: dict[type[BaseException], int] = {
    TextError: 2,  # bad input, as bad usage is to argparse
    VoiceError: 2,
    SettingsError: 2,
    AudioError: 3,  # the output cannot be written
    CheckpointError: 4,  # no such model, or not a usable one
    ConfigError: 4,
    KeyboardInterrupt: 130,
}

_UNITS = {"semantic": "token", "coarse": "token", "fine": "window", "codec": "frame"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Foreseen errors are told on standard error, without a traceback."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        if arguments[:1] == ["convert"]:  # has a parser of its own, as `python -m convert` needs it too
            convert = importlib.import_module(f"{converter().__name__}.__main__")
            return int(convert.main(arguments[1:]))
        options = _parser().parse_args(arguments)
        options.run(options)
    except tuple(EXIT_CODES) as error:
        print(f"bark-jax: {str(error) or 'interrupted'}", file=sys.stderr)
        return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bark-jax",
        description="Text to speech, music and sound with Bark, in JAX.",
        epilog="Exit codes: 0 done, 2 bad usage or input, 3 output not writable, 4 no usable model, 130 interrupted.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_say(commands.add_parser("say", help="speak a text into an audio file"))
    commands.add_parser("convert", help="convert a PyTorch checkpoint (see bark-jax convert --help)")
    voices = commands.add_parser("voices", help="list the names of voices")
    voices.add_argument("--model", help="only the voices that came with this model")
    voices.set_defaults(run=_voices)
    _add_bench(commands.add_parser("bench", help="measure how fast Bark is on this machine, in two minutes or so"))
    return parser


def _add_say(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_say)
    parser.add_argument("text", nargs="?", help="what to say; standard input if neither this nor --file is given")
    parser.add_argument("--file", metavar="FILE", help="read the text from a UTF-8 file, - for standard input")
    parser.add_argument("-o", "--output", type=Path, default=Path("bark.wav"), metavar="FILE",
                        help=".wav, .flac or .ogg (default: %(default)s)")  # fmt: skip
    parser.add_argument("--model", default=DEFAULT_MODEL,
                        help="a folder, a hub repository, or random:small (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--voice", help="a name (see bark-jax voices), an .npz file, or what three .npy files begin with"
    )
    parser.add_argument("--seed", type=int, help="a whole number; the same one gives the same audio")
    parser.add_argument("--temperature", type=float, help="of semantic and coarse tokens; 0 is greedy (default: 0.7)")
    parser.add_argument("--fine-temperature", type=float, help="of the fine stage (default: 0.5)")
    parser.add_argument("--top-k", type=int, help="sample from the k most probable tokens only")
    parser.add_argument("--top-p", type=float, help="sample from the most probable tokens of total probability p only")
    parser.add_argument("--min-eos-p", type=float, help="stop once the end is this probable (default: 0.2)")
    parser.add_argument("--max-seconds", type=float, help="stop after so many seconds of audio")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="what the transformers compute in")
    parser.add_argument("--quiet", action="store_true", help="print errors and warnings only")
    _add_compile_cache(parser)


def _add_compile_cache(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--compile-cache", type=Path, default=compile_cache.default_folder(), metavar="DIR",
                        help="keep compiled programs in this folder (default: %(default)s)")  # fmt: skip
    choice.add_argument("--no-compile-cache", dest="compile_cache", action="store_const", const=None,
                        help="compile everything anew, and keep nothing")  # fmt: skip


def _say(options: argparse.Namespace) -> None:
    text = normalize(_read_text(options))
    check_output(options.output)
    settings = {name: value for name, value in _settings(options).items() if value is not None}
    Settings().replace(**settings)  # complain before the model is loaded
    if options.seed is not None:
        check_seed(options.seed)
    _use_compile_cache(options.compile_cache, quiet=options.quiet)
    started = time.perf_counter()
    bark = Bark.from_pretrained(options.model, dtype=options.dtype, progress=not options.quiet)
    loaded = time.perf_counter() - started
    if options.model.startswith(RANDOM):
        _note(f"{options.model} has random weights: what comes out is noise. For speech: --model {DEFAULT_MODEL}")
    with remembering_ctrl_c() as raise_again, _Bars(hidden=options.quiet) as bars:

        def report(stage: str, done: int, total: int) -> None:
            raise_again()
            bars.update(stage, done, total)

        result = bark.generate(text, options.voice, seed=options.seed, progress=report, **settings)
    result.save(options.output)
    if not options.quiet:
        _note(_summary(result, options.output, loaded))


def _use_compile_cache(folder: Path | None, *, quiet: bool = False) -> None:
    if folder is None:
        compile_cache.disable()
        return
    if folder == compile_cache.default_folder() and "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return  # JAX was told of another
    fresh = not folder.exists()
    if compile_cache.enable(folder) and fresh and not quiet:
        _note(f"compiled programs are kept in {folder}, for a faster start next time")


def _read_text(options: argparse.Namespace) -> str:
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


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line, by their names in Settings."""
    both = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    return {
        **{f"{stage}_{name}": value for stage in ("semantic", "coarse") for name, value in both.items()},
        "fine_temperature": options.fine_temperature,
        "min_eos_p": options.min_eos_p,
        "max_seconds": options.max_seconds,
    }


class _Bars:
    """A progress bar for each stage in turn, with its speed."""

    def __init__(self, *, hidden: bool) -> None:
        self.hidden = hidden
        self.stage = ""
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage or self.bar is None:
            self._close()
            self.stage = stage
            self.bar = tqdm(desc=f"{stage:8}", total=total, unit=_UNITS[stage], disable=self.hidden)
        self.bar.update(done - self.bar.n)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _summary(result: Generation, path: Path, loaded: float) -> str:
    tokens = {"semantic": result.semantic, "coarse": result.coarse, "fine": result.fine, "codec": result.fine}
    speeds = [
        f"{stage} {seconds:.1f} s ({tokens[stage].size / seconds:.0f} tokens/s)"
        for stage, seconds in result.timings.items()
    ]
    return (
        f"model loaded in {loaded:.1f} s, {', '.join(speeds)}, compilation included\n"
        f"{path}: {result.seconds:.2f} s of audio, real-time factor {result.real_time_factor:.2f}, seed {result.seed}"
    )


def _voices(options: argparse.Namespace) -> None:
    names: Sequence[str] = VOICE_NAMES
    if options.model:
        names = [] if options.model.startswith(RANDOM) else list_voices(resolve(options.model) / "voices")
        if not names:
            _note(f"no voices came with {options.model}")
    print(*names, sep="\n", end="\n" if names else "", flush=True)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_bench)
    parser.add_argument("--model", default=RANDOM + "small", help="what to measure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the clip (default: %(default)s)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="what the transformers compute in")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    _add_compile_cache(parser)


def _bench(options: argparse.Namespace) -> None:
    Settings(max_seconds=options.seconds)  # complain before the model is loaded
    _use_compile_cache(options.compile_cache)
    _note(f"loading {options.model} …")
    bark = Bark.from_pretrained(options.model, dtype=options.dtype)
    report = bench.measure(bark, options.seconds, lambda what: _note(f"{what} …"))
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else bench.describe(report))


def _note(message: str) -> None:
    print(message, file=sys.stderr)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    _note(f"warning: {message}")
