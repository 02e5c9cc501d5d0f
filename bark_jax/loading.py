"""A source → the folder of a converted checkpoint: built in, on disk, on the hub, or to be converted first."""

import hashlib
import importlib
import importlib.util
import json
import os
import re
from pathlib import Path
from types import ModuleType

from platformdirs import user_cache_path

from bark_jax.checkpoint import CONVERSION, VERSION, CheckpointError, is_checkpoint
from bark_jax.layouts import NANO, explain_missing, has_weights, inputs


def resolve(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> Path:
    """The folder of a converted checkpoint for `source`, which is downloaded and converted if need be.

    source: a converted checkpoint; a folder with Suno's or Hugging Face's files; a hub repository, "owner/name"; or
    "nano", the model that this package brings ("./nano" is a folder of that name).
    Downloads go to the hub's own cache and obey its environment (HF_HOME, HF_HUB_OFFLINE, HF_TOKEN, …); revision and
    token are the hub's. Conversions, in float32, stay in `cache_dir`, by default the user's cache folder, and serve as
    long as the files they were made from are the same; delete them at will. progress: show the conversion's progress,
    and say that the hub is waited for (the download's bars obey HF_HUB_DISABLE_PROGRESS_BARS).

    Raises HubUnreachableError, and CheckpointError when there is no such source, it is not Bark's or does not convert.
    """
    if source == NANO:
        return _built_in()
    folder = Path(os.path.expanduser(source))
    if folder.is_file():
        raise CheckpointError(f"{source} is a file, not a folder: {explain_missing(folder)}")
    if not folder.is_dir():
        from bark_jax.hub import download  # a tenth of a second, which what is here does not need

        folder = download(str(source), revision=revision, token=token, progress=progress)
    if is_checkpoint(folder):
        return folder
    if not has_weights(folder):
        raise CheckpointError(f"{source} holds no Bark checkpoint: {explain_missing(folder)}")
    name = re.sub(r"\W+", "-", str(source)).strip("-")[-50:]
    cache = cache_dir or user_cache_path("bark-jax", appauthor=False) / "checkpoints"
    converted = cache / f"{name}-{_fingerprint(folder)}"
    if not is_checkpoint(converted):
        _convert(folder, converted, progress)
    return converted


def _built_in() -> Path:
    folder = Path(__file__).with_name(NANO)
    if not is_checkpoint(folder):
        raise CheckpointError(f"this installation lacks its built-in model, {folder}: install bark-jax again")
    return folder


def _fingerprint(folder: Path) -> str:
    """A hash that changes with the files that a conversion reads, and with what it makes of them."""
    stats = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(inputs(folder))]
    return hashlib.sha256(json.dumps([VERSION, CONVERSION, stats]).encode()).hexdigest()[:16]


def _convert(source: Path, converted: Path, progress: bool) -> None:
    try:
        converter().convert_checkpoint(source, converted, progress=progress)
    except CheckpointError:
        if not is_checkpoint(converted):  # else another process was faster
            raise


def converter() -> ModuleType:
    """The package of the conversion: `bark_jax.convert` once installed, `convert` beside this package in a checkout.

    Imported on demand, as a converted checkpoint loads without it. Raises CheckpointError when it is not there.
    """
    try:
        return importlib.import_module("bark_jax.convert")
    except ModuleNotFoundError as error:
        if error.name != "bark_jax.convert":
            raise
    ours = Path(__file__).resolve().parents[1] / "convert" / "__init__.py"
    spec = importlib.util.find_spec("convert")
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != ours:
        raise CheckpointError("bark_jax.convert is not there: install this package, or run in its checkout")
    return importlib.import_module("convert")
