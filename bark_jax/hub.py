"""Where a model comes from: this package, a converted folder, one to convert, or a repository of the hub."""

import hashlib
import importlib
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from platformdirs import user_cache_path

from bark_jax.checkpoint import VERSION, CheckpointError, is_checkpoint
from bark_jax.config import NETWORKS

NANO = "nano"  # the model that this package brings
_PATIENCE = 10.0  # seconds to connect to the hub, and again for its first answer

_SETTINGS = ("config.json", "generation_config.json", "tokenizer*.json", "vocab.txt", "speaker_embeddings*", "voices/*")
_VOICES = ("speaker_embeddings", "assets/prompts")  # folders
_WEIGHTS = (  # best first; one is enough, but `suno/bark` holds its weights in several layouts
    tuple(f"{name}.safetensors" for name in NETWORKS),
    ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
    ("text*.pt", "coarse*.pt", "fine*.pt", "encodec*.th"),
)
_EXPECTED = (
    "config.json with model.safetensors or pytorch_model.bin (or their shards), "
    "or Suno's text.pt, coarse.pt and fine.pt (or text_2.pt, …)"
)
_INSTEAD = f"a local folder or --model {NANO}, the built-in model, needs no hub"
_UNREACHABLE = "cannot be reached (no network, or HF_HUB_OFFLINE is set) and has not been downloaded from in full"


class HubUnreachableError(CheckpointError):
    """The hub does not answer, and what is wanted has not been downloaded before."""


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
    long as the files they were made from are the same; delete them at will. progress: show the conversion's progress
    (the download's bars obey HF_HUB_DISABLE_PROGRESS_BARS).

    Raises HubUnreachableError, and CheckpointError when there is no such source, it is not Bark's or does not convert.
    """
    if source == NANO:
        return _built_in()
    folder = Path(os.path.expanduser(source))
    if not folder.is_dir():
        folder = download(str(source), revision=revision, token=token)
    if is_checkpoint(folder):
        return folder
    if not _weight_patterns(file.name for file in folder.glob("*")):  # a snapshot without files has no folder
        raise CheckpointError(f"{source} holds no Bark checkpoint; expected {_EXPECTED}")
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
    stats = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(_inputs(folder))]
    return hashlib.sha256(json.dumps([VERSION, stats]).encode()).hexdigest()[:16]


def _inputs(folder: Path) -> Iterator[Path]:
    patterns = [*_SETTINGS, *(pattern for layout in _WEIGHTS for pattern in layout)]
    found = [file for file in folder.iterdir() if any(fnmatch(file.name, pattern) for pattern in patterns)]
    found += [file for voices in _VOICES for file in (folder / voices).rglob("*")]
    if any(folder.glob("text*.pt")):  # Suno's layout
        found += torch_checkpoints().glob("encodec*.th")
    return (file for file in found if file.is_file())


def torch_checkpoints() -> Path:
    """Where torch.hub keeps what it downloads, and so Suno's code EnCodec's weights."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("TORCH_HOME") or Path(cache, "torch"), "hub", "checkpoints")


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


def _weight_patterns(names: Iterable[str]) -> tuple[str, ...]:
    """The patterns of the best layout found among these files, none if there are no weights."""
    names = list(names)
    for patterns in _WEIGHTS:
        if any(fnmatch(name, pattern) for name in names for pattern in patterns):
            return patterns
    return ()


def download(
    repository: str, *, revision: str | None = None, token: str | None = None, weights: Sequence[str] | None = None
) -> Path:
    """The local snapshot of a repository: its settings, tokenizer and voices, and its weights.

    weights: patterns of their file names, by default those of the best layout that is there. Raises CheckpointError,
    of which HubUnreachableError.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository):
        raise CheckpointError(f"{repository} is neither a folder nor a hub repository (owner/name); {_INSTEAD}")
    listed, silence = True, None
    try:
        # Not list_repo_files: without a network that retries for half a minute.
        files = HfApi(token=token).model_info(repository, revision=revision, timeout=_PATIENCE).siblings or []
        if weights is None:
            weights = _weight_patterns(file.rfilename for file in files)
    except Exception as error:  # whatever it is, the next call turns to the cache or fails in the same way
        listed, silence = weights is not None, error if _is_of_network(error) else None
        weights = weights or ()
    try:
        folder = snapshot_download(
            repository, revision=revision, token=token, allow_patterns=[*_SETTINGS, *weights],
            local_files_only=silence is not None,  # it would try again, and without a limit of time
        )  # fmt: skip
    except Exception as error:  # of the hub's client, or of the HTTP library below it, which depends on its version
        answer = error.__cause__  # after which the cache was tried
        cause = silence or (answer if isinstance(answer, HfHubHTTPError) else error)
        kind = HubUnreachableError if _is_unreachable(cause) else CheckpointError
        raise kind(f"there is no folder {repository}, and the hub: {_reason(cause)}; {_INSTEAD}") from error
    found = Path(folder)
    if not listed and not is_checkpoint(found) and not _weight_patterns(file.name for file in found.glob("*")):
        raise HubUnreachableError(f"there is no folder {repository}, and the hub: {_UNREACHABLE}; {_INSTEAD}")
    return found


def _is_unreachable(error: BaseException) -> bool:
    """Whether the hub did not answer, or has trouble of its own."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return isinstance(error, LocalEntryNotFoundError) or _is_of_network(error)


def _is_of_network(error: BaseException) -> bool:
    return type(error).__module__.startswith("httpx")


def _reason(error: BaseException) -> str:
    match error:
        case GatedRepoError():
            return "asks for its terms to be accepted on its page, then for `hf auth login` or a token"
        case RepositoryNotFoundError():
            return "has no such repository, or a private one (then `hf auth login` or pass a token)"
        case RevisionNotFoundError():
            return "has no such revision of it"
        case LocalEntryNotFoundError():
            return _UNREACHABLE
        case HfHubHTTPError():
            return f"answered with status {error.response.status_code}; 401 and 403 call for `hf auth login` or a token"
        case _:
            told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            return f"{_UNREACHABLE}: {told}" if _is_of_network(error) else f"failed: {told}"
