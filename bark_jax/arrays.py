"""Arrays in untrusted `.npy` and `.npz` files: no pickle is executed, and declared sizes are not trusted.

NumPy's and zipfile's parsers raise a dozen kinds of exceptions on damaged files: callers catch them all.
"""

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt


def open_plain(path: Path, most: int) -> IO[bytes]:
    """Open a plain file of at most `most` bytes: a pipe may block for ever, as may a zip file's table of contents."""
    if not path.is_file():
        raise FileNotFoundError("it is not a file" if path.exists() else "there is no such file")
    if path.stat().st_size > most:
        raise ValueError(f"it exceeds {most} bytes")
    return path.open("rb")


def read_bounded(stream: IO[bytes], most: int) -> bytes:
    """The rest of a stream, at most `most` bytes."""
    data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{getattr(stream, 'name', 'it')} exceeds {most} bytes")
    return data


def read_member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a file in the archive, whose declared size is not trusted."""
    member = archive.getinfo(name)
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed by another method than deflate")  # others unpack without limit
    with archive.open(member) as stream:
        return read_bounded(stream, most)


def parse_npy(data: bytes) -> npt.NDArray[np.generic]:
    """One array, viewed in the bytes that are there: `np.load` would allocate any shape that is declared."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"format version {version} is not one that NumPy uses for arrays of numbers")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape} is negative")
    flat = np.frombuffer(data, dtype, count=math.prod(shape), offset=file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")
