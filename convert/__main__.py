"""`python -m convert SOURCE OUT`, which is also `bark-jax convert SOURCE OUT`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bark_jax.checkpoint import DTYPES, CheckpointError, is_checkpoint
from bark_jax.hub import download
from bark_jax.layouts import SIZES, suno_names

from .source import TOKENIZER_REPOSITORY, open_source


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert as the arguments say; the exit code. Every foreseen error is told without a traceback."""
    options = _parser().parse_args(arguments)
    try:
        _convert(options)
    except CheckpointError as error:
        print(f"bark-jax: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        state = "holds a whole checkpoint" if is_checkpoint(options.out) else "was not written"
        print(f"bark-jax: interrupted; {options.out} {state}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bark-jax convert",
        description="Convert Suno's or Hugging Face's files of Bark. PyTorch is not needed, no pickle is executed.",
    )
    parser.add_argument("source", help="a folder, or a repository of the Hugging Face hub such as suno/bark-small")
    parser.add_argument("out", type=Path, help="the folder to write; it appears only when it is complete")
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0],
                        help="of the transformers' parameters, not of the codec (default: %(default)s)")  # fmt: skip
    parser.add_argument("--size", choices=SIZES,
                        help="use Suno's files of this size (default: Hugging Face's, then Suno's large)")  # fmt: skip
    parser.add_argument("--tokenizer", help="a tokenizer.json, a vocab.txt, a folder with one, or a hub repository "
                        f"(default: that of the source; Bark's is {TOKENIZER_REPOSITORY})")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a converted checkpoint")
    parser.add_argument("--verify", action="store_true",
                        help="then compare all networks with PyTorch's (needs torch and transformers)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser


def _convert(options: argparse.Namespace) -> None:
    from .conversion import convert_checkpoint  # with JAX, which --help and bad usage need not wait for

    source = Path(os.path.expanduser(options.source))
    if not source.exists():
        source = download(options.source, weights=suno_names(options.size) if options.size else None)
    tokenizer = Path(os.path.expanduser(options.tokenizer)) if options.tokenizer else None
    if tokenizer and not tokenizer.exists():
        tokenizer = download(options.tokenizer, weights=())
    convert_checkpoint(
        source, options.out, dtype=options.dtype, size=options.size, tokenizer=tokenizer,
        overwrite=options.overwrite, progress=not options.quiet,
    )  # fmt: skip
    if options.verify:
        from .verify import verify

        verify(open_source(source, size=options.size, tokenizer=tokenizer), options.out, progress=not options.quiet)


if __name__ == "__main__":
    sys.exit(main())
