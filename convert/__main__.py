"""`python -m convert SOURCE OUT`, which is also `bark-jax convert SOURCE OUT`."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bark_jax.checkpoint import DTYPES, CheckpointError, is_checkpoint, read_json
from bark_jax.cli.parser import Parser
from bark_jax.hearing.finding import HUBERT_REPOSITORY
from bark_jax.hub import download
from bark_jax.layouts import SIZES, TOKENIZER_REPOSITORY, TRANSFORMERS, suno_names

from .errors import ConversionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert as the arguments say; the exit code. Foreseen errors are printed without a traceback."""
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
    parser = Parser(
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
    for network in TRANSFORMERS:
        parser.add_argument(f"--{network}", metavar="FILE", help=f"a {network} network fine-tuned by itself, to put in "
                            "place of that of SOURCE: a file or a folder; SOURCE may be converted already")  # fmt: skip
    parser.add_argument("--quantizer", metavar="FILE", type=Path,
                        help="of semantic tokens (.pth), where SOURCE is HuBERT, facebook/hubert-base-ls960: together "
                        "they make tokens of recordings")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is a converted checkpoint")
    parser.add_argument("--verify", action="store_true",
                        help="then compare all networks with PyTorch's (needs torch and transformers)")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    return parser


def _convert(options: argparse.Namespace) -> None:
    from .conversion import convert_checkpoint  # slow to import, which --help and bad usage need not wait for

    local = partial(_local, progress=not options.quiet)
    if _is_hubert(Path(options.source), options):
        _convert_hubert(options)
        return
    source = local(options.source, suno_names(options.size) if options.size else None)
    tokenizer = local(options.tokenizer, ()) if options.tokenizer else None
    stages = {network: local(given) for network in TRANSFORMERS if (given := getattr(options, network))}
    if stages and options.verify:
        raise ConversionError("--verify compares a whole source with PyTorch, not one with another network put into it")
    convert_checkpoint(
        source, options.out, dtype=options.dtype, size=options.size, tokenizer=tokenizer, stages=stages,
        overwrite=options.overwrite, progress=not options.quiet,
    )  # fmt: skip
    if options.verify:
        from .source import open_source
        from .verify import verify

        verify(open_source(source, size=options.size, tokenizer=tokenizer), options.out, progress=not options.quiet)


def _is_hubert(source: Path, options: argparse.Namespace) -> bool:
    """Whether HuBERT is meant: a folder in Hugging Face's layout, the repository, or a file such as fairseq's."""
    if options.quantizer is not None or str(source) == HUBERT_REPOSITORY:
        return True
    if source.is_file():
        return "hubert" in source.name.lower() and source.suffix in (".pt", ".bin", ".safetensors")
    file = source / "config.json"
    return file.is_file() and read_json(file).get("model_type") == "hubert"


def _convert_hubert(options: argparse.Namespace) -> None:
    """HuBERT has a layout of its own, and none of Bark's options."""
    given = [name for name in ("size", "tokenizer", "overwrite", "verify", *TRANSFORMERS) if getattr(options, name)]
    if given or options.dtype != DTYPES[0]:
        raise ConversionError(f"--{(given or ['dtype'])[0]} is not for HuBERT: leave it out")
    from .hubert import convert_hubert  # with JAX, which refusals need not wait for

    source = _local(options.source, ("pytorch_model.bin",), progress=not options.quiet)
    convert_hubert(source, options.out, quantizer=options.quantizer)
    if not options.quiet:
        what = "features only" if options.quantizer is None else f"with {options.quantizer.name}"
        print(f"{options.out}: HuBERT, {what}", file=sys.stderr)


def _local(source: str, weights: Sequence[str] | None = None, *, progress: bool) -> Path:
    """A path that exists, or what is downloaded from a hub repository of that name; weights: as in `download`."""
    path = Path(os.path.expanduser(source))
    return path if path.exists() else download(source, weights=weights, progress=progress)


if __name__ == "__main__":
    sys.exit(main())
