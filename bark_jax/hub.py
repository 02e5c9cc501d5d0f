"""Downloads from the Hugging Face hub."""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from platformdirs import user_cache_path

from bark_jax.checkpoint import CheckpointError, HubUnreachableError, is_checkpoint
from bark_jax.layouts import NANO, SETTINGS, has_weights, weight_patterns

_PATIENCE = 10.0  # seconds to connect to the hub, and again for its first answer
_NOTICE = 2.0  # seconds of waiting, after which that is said, and a failure remembered
_MEMORY = 10 * 60.0  # seconds in which a hub that did not answer is not asked again

_INSTEAD = f"a local folder or --model {NANO}, the built-in model, needs no hub"
_UNREACHABLE = "cannot be reached (no network, or HF_HUB_OFFLINE is set), and not all of it has been downloaded before"


class _SilentError(Exception):
    """The hub has been found silent a short while ago."""


def download(
    repository: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    weights: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """The local snapshot of a repository: its settings, tokenizer and voices, and its weights.

    weights: patterns of their file names, by default those of the best layout that is there. progress: say on standard
    error that the hub is waited for. One that does not answer is not asked again for ten minutes: until then
    what has been downloaded before is used, and the error says how to ask again. Raises CheckpointError, of which
    HubUnreachableError.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository):
        raise CheckpointError(f"{repository} is neither a folder nor a hub repository (owner/name); {_INSTEAD}")
    listed, silence = True, None
    try:
        files = _list_files(repository, revision, token, progress)
        if weights is None:
            weights = weight_patterns(files)
    except Exception as error:  # of any kind: the next call turns to the cache or fails in the same way
        listed, silence = weights is not None, error if _is_of_network(error) else None
        weights = weights or ()
    try:
        folder = snapshot_download(
            repository, revision=revision, token=token, allow_patterns=[*SETTINGS, *weights],
            local_files_only=silence is not None,  # it would try again, and without a limit of time
        )  # fmt: skip
    except Exception as error:  # of the hub's client, or of the HTTP library below it, which depends on its version
        answer = error.__cause__  # after which the cache was tried
        cause = silence or (answer if isinstance(answer, HfHubHTTPError) else error)
        kind = HubUnreachableError if _is_unreachable(cause) else CheckpointError
        raise kind(f"{repository} is not a folder, and the hub {_reason(cause)}; {_INSTEAD}") from error
    found = Path(folder)
    if not listed and not is_checkpoint(found) and not has_weights(found):
        raise HubUnreachableError(f"{repository} is not a folder, and the hub {_UNREACHABLE}; {_INSTEAD}")
    return found


def _list_files(repository: str, revision: str | None, token: str | None, progress: bool) -> list[str]:
    """The names of a repository's files. Raises _SilentError, or what the client raises."""
    stamp = user_cache_path("bark-jax", appauthor=False) / "hub-did-not-answer"
    api = HfApi(token=token)
    _recall(stamp, api.endpoint)
    started = time.monotonic()
    try:
        with _saying_that_it_waits(api.endpoint) if progress else contextlib.nullcontext():
            # Not list_repo_files: without a network that retries for half a minute.
            info = api.model_info(repository, revision=revision, timeout=_PATIENCE)
    except Exception as error:
        if _is_of_network(error) and time.monotonic() - started > _NOTICE:
            with contextlib.suppress(OSError):
                stamp.parent.mkdir(parents=True, exist_ok=True)
                stamp.write_text(api.endpoint)
        raise
    return [file.rfilename for file in info.siblings or []]


def _recall(stamp: Path, endpoint: str) -> None:
    """Raise _SilentError if the hub at this address did not answer a short while ago."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: not UTF-8
        age = time.time() - stamp.stat().st_mtime
        if 0 <= age < _MEMORY and stamp.read_text() == endpoint:
            raise _SilentError(
                f"it did not answer {age:.0f} s ago, and is asked again after {_MEMORY / 60:.0f} minutes; "
                f"to ask it at once, delete {stamp}"
            )


@contextlib.contextmanager
def _saying_that_it_waits(endpoint: str) -> Iterator[None]:
    message = f"waiting for the hub, {endpoint}, for {2 * _PATIENCE:.0f} s at most …"
    timer = threading.Timer(_NOTICE, lambda: print(message, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def cached_file(repository: str, name: str) -> Path | None:
    """A file of a repository that has been downloaded before. The hub is not asked."""
    path = try_to_load_from_cache(repository, name)
    return Path(path) if isinstance(path, str) else None


def _is_unreachable(error: BaseException) -> bool:
    """Whether the hub did not answer, or has trouble of its own."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return isinstance(error, LocalEntryNotFoundError) or _is_of_network(error)


def _is_of_network(error: BaseException) -> bool:
    return isinstance(error, _SilentError) or type(error).__module__.startswith("httpx")


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
            first_line = str(error).strip().partition("\n")[0]
            said = first_line if isinstance(error, _SilentError) else f"{type(error).__name__}: {first_line}"
            return f"{_UNREACHABLE}: {said}" if _is_of_network(error) else f"failed: {said}"
