"""Downloads from the Hugging Face hub."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from bark_jax.checkpoint import CheckpointError, is_checkpoint
from bark_jax.layouts import NANO, SETTINGS, has_weights, weight_patterns

_PATIENCE = 10.0  # seconds to connect to the hub, and again for its first answer

_INSTEAD = f"a local folder or --model {NANO}, the built-in model, needs no hub"
_UNREACHABLE = "cannot be reached (no network, or HF_HUB_OFFLINE is set) and has not been downloaded from in full"


class HubUnreachableError(CheckpointError):
    """The hub does not answer, and what is wanted has not been downloaded before."""


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
            weights = weight_patterns(file.rfilename for file in files)
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
        raise kind(f"there is no folder {repository}, and the hub: {_reason(cause)}; {_INSTEAD}") from error
    found = Path(folder)
    if not listed and not is_checkpoint(found) and not has_weights(found):
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
            said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            return f"{_UNREACHABLE}: {said}" if _is_of_network(error) else f"failed: {said}"
