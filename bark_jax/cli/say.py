"""`bark-jax say`: a text into an audio file."""

import argparse
import time
from pathlib import Path

from bark_jax.audio import check_output
from bark_jax.cli.console import note
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
from bark_jax.generation import Generation
from bark_jax.inputs import check_seed
from bark_jax.pipeline import RANDOM, Bark
from bark_jax.settings import Settings
from bark_jax.text import normalize


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_run)
    add_text(parser)
    parser.add_argument("-o", "--output", type=Path, default=Path("bark.wav"), metavar="FILE",
                        help=".wav, .flac or .ogg (default: %(default)s)")  # fmt: skip
    parser.add_argument("--model", default=DEFAULT_MODEL,
                        help="a folder, a hub repository, or random:small (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--voice", help="a name (see bark-jax voices), an .npz file, or what three .npy files begin with"
    )
    parser.add_argument("--quiet", action="store_true", help="print errors and warnings only")
    add_sampling(parser)
    add_machine(parser)


def _run(options: argparse.Namespace) -> None:
    text = normalize(read_text(options))
    check_output(options.output)
    settings = chosen_settings(options)
    Settings().replace(**settings)  # complain before the model is loaded
    if options.seed is not None:
        check_seed(options.seed)
    use_compile_cache(options.compile_cache, quiet=options.quiet)
    started = time.perf_counter()
    bark = Bark.from_pretrained(options.model, dtype=options.dtype, progress=not options.quiet)
    loaded = time.perf_counter() - started
    if options.model.startswith(RANDOM):
        note(f"{options.model} has random weights: what comes out is noise. For speech: --model {DEFAULT_MODEL}")
    with Bars(hidden=options.quiet) as bars:
        result = bark.generate(text, options.voice, seed=options.seed, progress=bars.update, **settings)
    result.save(options.output)
    if not options.quiet:
        note(_summary(result, options.output, loaded))


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
