"""The conversion itself: look at everything, then write."""

import os
import secrets
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bark_jax.checkpoint import is_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.layouts import SEMANTIC_CLUSTERS
from bark_jax.voices.library import default_name, list_voices
from bark_jax.voices.voice import Voice

from .errors import ConversionError, refuse
from .plan import Plan, Target, plan
from .sampling import describe_sampling
from .source import Source, open_source
from .voices import Voices, read_voices


def convert_checkpoint(
    source: Path,
    out: Path,
    *,
    dtype: str = "float32",
    size: str | None = None,
    tokenizer: Path | None = None,
    stages: Mapping[str, Path] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Convert a folder with Suno's or Hugging Face's files of Bark into a checkpoint of this project's.

    dtype: "float32", "bfloat16" or "int8", of the transformers' parameters; the codec is float32. size, tokenizer,
    stages: see `open_source`. overwrite: replace `out` if it is a converted checkpoint. progress: say on standard error
    what is done. PyTorch is not needed, no pickle is executed, and `out` appears only when it is complete. Everything
    is read twice: once to find all that is wrong, once to write it.

    Raises ConversionError (a bark_jax.checkpoint.CheckpointError) with all that is wrong with the source, and
    CheckpointError when a file is not JSON or `out` cannot be written.
    """
    opened = open_source(source, size=size, tokenizer=tokenizer, stages=stages)
    from bark_jax.checkpoint.writing import is_vacant  # with JAX, which a refusal need not wait for

    out = Path(os.path.realpath(out))  # "." has no name to write beside
    if not is_vacant(out) and not (overwrite and is_checkpoint(out)):
        advice = ": --overwrite replaces it" if is_checkpoint(out) else ", and is not a converted checkpoint"
        raise ConversionError(f"{out} exists already{advice}")
    plans = {
        network: plan(network, opened.config, tensors, converted=network in opened.converted)
        for network, tensors in opened.networks.items()
    }
    problems = {network: plans[network].problems for network in NETWORKS}
    problems[""] = [f"{label} belongs to no network" for label in opened.unclaimed]
    _refuse("does not fit its configuration", problems, source, stages)
    _say(f"{source}: {opened.description}; left out: {_summary(plans.values())}", progress)
    if changed := describe_sampling(opened.config):
        _say(f"{source}: default settings that differ from Suno's: {changed}", progress)
    if opened.ignored:
        warnings.warn(f"{source} asks for settings that are ignored here: {', '.join(opened.ignored)}", stacklevel=2)
    voices = _voices(opened)
    _check(source, stages, plans, progress)
    target = out if is_vacant(out) else out.with_name(f".{out.name}.new-{secrets.token_hex(4)}")
    _write(target, opened, plans, voices, dtype, progress)
    if target != out:
        _replace(out, target)
    _say(f"{out}: {len(voices)} voices, {dtype}", progress)


def _voices(source: Source) -> Voices:
    if not source.converted:
        return read_voices(source.folder, source.config)
    folder = source.folder / "voices"
    return [(name, Voice.load(folder / f"{name}.npz", source.config)) for name in list_voices(folder)]


def _check(source: Path, stages: Mapping[str, Path] | None, plans: dict[str, Plan], progress: bool) -> None:
    """Raise ConversionError with every tensor that cannot be used."""
    problems = {
        network: [
            problem
            for target in _shown(plans[network].targets, f"checking {network}", progress)
            for problem in target.problems()
        ]
        for network in NETWORKS
    }
    _refuse("has weights that cannot be used", problems, source, stages)


def _refuse(reason: str, problems: Mapping[str, list[str]], source: Path, stages: Mapping[str, Path] | None) -> None:
    """Raise ConversionError naming the source, or the files put over it, that have problems; these are by network."""
    files = dict.fromkeys(str((stages or {}).get(network, source)) for network, found in problems.items() if found)
    refuse(f"{', '.join(files)} {reason}", [problem for found in problems.values() for problem in found])


def _write(out: Path, source: Source, plans: dict[str, Plan], voices: Voices, dtype: str, progress: bool) -> None:
    from bark_jax.checkpoint.writing import write_checkpoint  # with JAX

    networks = {network: _arrays(plans[network].targets, f"writing {network}", progress) for network in NETWORKS}
    write_checkpoint(
        out, source.config, networks, tokenizer_json=source.tokenizer_json, voices=voices, dtype=dtype,
        default_voice=default_name(source.folder / "voices") if source.converted else None,
    )  # fmt: skip
    if source.converted and (clusters := source.folder / SEMANTIC_CLUSTERS).is_file():
        shutil.copy(clusters, out)


def _arrays(targets: list[Target], title: str, progress: bool) -> Iterator[tuple[str, np.ndarray]]:
    for target in _shown(targets, title, progress):
        yield target.path, target.read()


def _shown(targets: list[Target], title: str, progress: bool) -> Iterator[Target]:
    """The targets, with a bar that counts their float32 bytes and names the current one."""
    total = sum(target.bytes for target in targets)
    hidden = None if progress else True  # None: where standard error is not a terminal
    with tqdm(desc=f"{title:17}", total=total, unit="B", unit_scale=True, disable=hidden) as bar:
        for target in targets:
            bar.set_postfix_str(target.path, refresh=False)
            yield target
            bar.update(target.bytes)


def _replace(old: Path, new: Path) -> None:
    """Put the new folder in place of the old one, which stays on any exception before that."""
    aside = old.with_name(f".{old.name}.old-{secrets.token_hex(4)}")
    try:
        try:
            old.rename(aside)
            new.rename(old)
        finally:
            if not old.exists():
                aside.rename(old)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise ConversionError(f"cannot replace {old}: {error}") from error


def _summary(plans: Iterable[Plan]) -> str:
    left_out = sum((plan.left_out for plan in plans), Counter())
    return ", ".join(f"{reason} ({count})" for reason, count in left_out.items()) or "nothing"


def _say(message: str, progress: bool) -> None:
    if progress:
        print(message, file=sys.stderr)
