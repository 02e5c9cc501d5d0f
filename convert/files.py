"""Paths that come out of the files of a source folder."""

from pathlib import Path

from .errors import ConversionError


def inside(folder: Path, relative: object) -> Path:
    """The file of `folder` that an untrusted path names; it need not exist. Raises ConversionError.

    The path is relative to the folder, or absolute and begins with it. Symbolic links are followed and may not leave
    the folder either, with one exception: the Hugging Face cache keeps `snapshots/REVISION/NAME` as a link into the
    `blobs` of the same repository.
    """
    if not isinstance(relative, str):
        raise ConversionError(f"{folder} refers to {relative!r:.200}, which is not a path")
    try:
        target, root = (folder / relative).resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # endless links, names too long or with a zero byte
        raise ConversionError(f"{folder} refers to {relative!r:.200}: {error}") from error
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    path = Path(relative)
    if path.is_absolute():
        own = next((each for each in (folder.absolute(), root) if path.is_relative_to(each)), None)
        path = path.relative_to(own) if own else path
    lexical = not path.is_absolute() and ".." not in path.parts
    if not lexical or not any(target.is_relative_to(allowed) for allowed in roots):
        raise ConversionError(f"{folder} refers to {relative!r:.200}, which leaves the folder")
    return folder / path
