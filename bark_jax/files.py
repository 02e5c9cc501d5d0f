"""Single files: written whole or not at all, and hashed."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def check_writable(path: Path) -> None:
    """Raise OSError, saying why, when a file plainly cannot be written at `path`. Touches nothing."""
    try:
        os.access(path, os.F_OK)
    except ValueError as error:  # NUL, or a character that names cannot have here
        raise OSError(f"no file can have this name: {error}") from error
    if path.is_dir():
        raise IsADirectoryError("it is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write into {path.parent}")


def check_folder(path: Path) -> None:
    """Raise OSError, saying why, when `path` plainly cannot be a folder to write into. Touches nothing."""
    while not path.exists() and path != path.parent:  # folders that are missing are made
        path = path.parent
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder")
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"no permission to write into {path}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, same suffix, to write to: moved there at the end, removed on any exception.

    Raises OSError.
    """
    check_writable(path)
    temporary = path.with_name(f".partial-{secrets.token_hex(8)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
