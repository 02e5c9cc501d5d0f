"""The warnings of one request: Python has one list of filters for all threads, so that only one request collects."""

import contextlib
import threading
import warnings
from collections.abc import Iterator

_LOCK = threading.Lock()


@contextlib.contextmanager
def collecting() -> Iterator[list[str]]:
    """A list that has, at the end, what was warned of meanwhile. For short work."""
    messages: list[str] = []
    with _LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield messages
        finally:
            messages += [str(warning.message) for warning in caught]
