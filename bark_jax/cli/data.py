"""`bark-jax data`: training data from recordings and their transcripts."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from bark_jax.cli.console import note
from bark_jax.hearing.names import is_hubert
from bark_jax.inputs import check_seed
from bark_jax.interrupts import remembering_ctrl_c
from bark_jax.loading import resolve

if TYPE_CHECKING:
    from bark_jax.training.prepare import Prepared
    from bark_jax.training.transcripts import LeftOut

_NAMED = 5  # missing recordings, in a warning
_UNITS = {"audio": "recording", "clusters": "round", "tokens": "clip"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The one action there is."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_prepare(actions.add_parser("prepare", help="make a folder of training data from recordings and transcripts"))


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Two steps: the recordings at the codec's sample rate, then their tokens. Run it with --only-audio to train a "
        "codec, then without it to add the tokens. What cannot be used is left out and named in a report."
    )
    parser.set_defaults(run=_prepare)
    parser.add_argument("recordings", type=Path, metavar="FOLDER", help="audio files, and folders of them")
    parser.add_argument(
        "--transcripts", type=Path, required=True, metavar="TABLE",
        help="recording, text and, if known, speaker of each: delimited text with a header, or without one as LJSpeech "
        "has it, or JSON lines",
    )  # fmt: skip
    parser.add_argument("--to", type=Path, required=True, metavar="DATA", help="the folder to make")
    parser.add_argument(
        "--model", required=True,
        help="whose codec, sizes and text tokenizer to use: a folder (./nano if that is its name), a hub repository or "
        "nano (the built-in model)",
    )  # fmt: skip
    parser.add_argument("--only-audio", action="store_true", help="leave out the tokens: the model has no codec yet")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--semantic-tokens", metavar="FILE",
                        help="for a model that has none: semantic_tokens.npz of other data; for the published models "
                        "hubert, hubert:german, … or a folder of bark-jax convert --quantizer")  # fmt: skip
    choice.add_argument("--seed", type=int, help="of clusters of these data, for a model that has none (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="discard what DATA holds and start again")
    parser.add_argument("--quiet", action="store_true", help="print errors and warnings only")


def _prepare(options: argparse.Namespace) -> None:
    from bark_jax.training.transcripts import NO_RECORDING, Recordings, read_transcripts

    if options.seed is not None:
        check_seed(options.seed)
    read_transcripts(options.transcripts, Recordings(options.recordings))  # refused before a model is looked for
    from bark_jax.training.prepare import Preparation, has_learned_tokens, own_clusters, prepare  # imports JAX

    model = resolve(options.model)
    if options.seed is not None and own_clusters(model):
        note(f"warning: --seed is not used: {options.model} has its own semantic tokens")
    named = options.semantic_tokens is not None and is_hubert(options.semantic_tokens)
    if not (options.only_audio or named or own_clusters(model)) and (speaking := has_learned_tokens(model)):
        networks = " and ".join(speaking)
        note(
            f"warning: {options.model} has no semantic_tokens.npz: its {networks} networks cannot learn from these "
            "data, its codec and fine networks can"
        )
    job = Preparation(
        recordings=options.recordings, transcripts=options.transcripts, to=options.to, model=model,
        only_audio=options.only_audio, semantic_tokens=options.semantic_tokens, seed=options.seed or 0,
        overwrite=options.overwrite,
    )  # fmt: skip
    with remembering_ctrl_c() as raise_again, _Bars(hidden=options.quiet) as bars:

        def report(step: str, done: int, total: int) -> None:
            raise_again()
            bars.update(step, done, total)

        prepared = prepare(job, report)
    if missing := [left_out for left_out in prepared.report if left_out.reason == NO_RECORDING]:
        note(f"warning: {_name_missing(missing)} in {options.recordings}")
    if not options.quiet:
        if prepared.columns:
            note(prepared.columns)
        note(_describe(options.to, prepared))


def _name_missing(missing: "Sequence[LeftOut]") -> str:
    names = ", ".join(f"{left_out.file} (line {left_out.line})" for left_out in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return f"there is no recording of {names}{more}"


def _describe(to: Path, prepared: "Prepared") -> str:
    from bark_jax.training.prepare import REPORT

    audio, tokens = prepared.manifest.audio, prepared.manifest.tokens
    parts = [f"{audio.clips} recordings, {_duration(audio.seconds)}"]
    if tokens is not None:
        parts.append(f"tokens of {tokens.clips} of them, {_duration(tokens.seconds)}")
    if prepared.left_out:
        parts.append(f"{prepared.left_out} left out, see {to / REPORT}")
    if not prepared.made:
        parts.append("all of it was there already")
    return f"{to}: " + "; ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.0f} s"


class _Bars:
    """A progress bar for each step in turn; none if hidden, and none where standard error is no terminal."""

    def __init__(self, *, hidden: bool) -> None:
        self.hidden = hidden
        self.bar: tqdm[Any] | None = None
        self.step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, step: str, done: int, total: int) -> None:
        if step != self.step or self.bar is None:
            if self.bar is not None:
                self.bar.close()
            self.step = step
            self.bar = tqdm(desc=f"{step:8}", total=total, unit=_UNITS[step], disable=True if self.hidden else None)
        self.bar.update(done - self.bar.n)
