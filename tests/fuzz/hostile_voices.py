"""Files that claim to be voices, each of them bad in its own way; and a good one."""

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax import BarkConfig

TINY = BarkConfig.tiny()
FINE = np.arange(1, 241).reshape(8, 30) % TINY.codec.codebook_size
GOOD = {"semantic_prompt": np.arange(20), "coarse_prompt": FINE[:2], "fine_prompt": FINE}


def saved(**members: np.ndarray) -> bytes:
    """A good voice but for these arrays, as NumPy writes it."""
    file = io.BytesIO()
    np.savez_compressed(file, **(GOOD | members))
    return file.getvalue()


class Source(str):
    """Stands in a header as it is."""

    def __repr__(self) -> str:
        return str(self)


def npy(descr: object, shape: object, data: bytes = bytes(320), *, fortran: bool = False, version: int = 1) -> bytes:
    """An `.npy` file whose header claims anything of the data behind it."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def with_semantic(member: bytes) -> bytes:
    """A good voice but for the content of one member."""
    good = zipfile.ZipFile(io.BytesIO(saved()))
    others = [(name, good.read(name)) for name in good.namelist() if not name.startswith("semantic")]
    return zipped(*others, ("semantic_prompt.npy", member))


def renamed(form: str) -> bytes:
    good = zipfile.ZipFile(io.BytesIO(saved()))
    return zipped(*((form.format(name), good.read(name)) for name in good.namelist()))


def with_compression(method: int, flags: int = 0) -> bytes:
    """A zip file whose table of contents and members claim another method, or that they are encrypted."""
    content = bytearray(zipped(("semantic_prompt.npy", npy("<i8", (40,)))))
    central = content.index(b"PK\x01\x02")
    for flags_at in (6, central + 8):
        content[flags_at : flags_at + 4] = struct.pack("<HH", flags, method)
    return bytes(content)


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def pickles(trap: Trap) -> dict[str, bytes]:
    array = io.BytesIO()
    np.save(array, np.array([trap], object))
    pickled = pickle.dumps(trap)
    return {
        "a pickle": pickled,
        "an array of objects": array.getvalue(),
        "a zipped pickle": with_semantic(pickled),
        "a zipped array of objects": with_semantic(array.getvalue()),
        "records of objects": with_semantic(npy([("a", "|O")], (1,), pickled)),
        "objects behind a good header": with_semantic(npy("<i8", (1,), pickled)),
    }


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {  # → how to make one, and what is said of it
    "2⁵⁰ elements": (lambda: with_semantic(npy("<i8", (2**50,))), "smaller than"),
    "2⁶⁰ elements": (lambda: with_semantic(npy("<i8", (2**60,))), "too big"),
    "2⁶⁰ elements, Fortran": (lambda: with_semantic(npy("<i8", (2**30, 2**30), fortran=True)), "too big"),
    "beyond 64 bits": (lambda: with_semantic(npy("<i8", (2**70,))), "too large"),
    "no elements, 2⁶⁰ columns": (lambda: with_semantic(npy("<i8", (0, 2**60))), "too big"),
    "a negative shape": (lambda: with_semantic(npy("<i8", (-1,))), "negative"),
    "a later format": (lambda: with_semantic(npy("<i8", (40,), version=2)), r"version \(2, 0\)"),
    "records": (lambda: with_semantic(npy([("a", "<i4"), ("b", "<i4")], (40,))), "dtype"),
    "durations": (lambda: with_semantic(npy("<m8[s]", (40,))), "dtype timedelta64"),
    "text": (lambda: with_semantic(npy("<U2", (40,))), "dtype <U2"),
    "deep nesting": (lambda: with_semantic(npy(Source("[" * 4500 + "]" * 4500), (4,))), ""),
    "many signs": (lambda: with_semantic(npy("<i8", Source("-" * 9000 + "1"))), ""),
    "a long dtype": (lambda: with_semantic(npy("x" * 9000, (4,))), "not a valid dtype"),
    "a long header": (lambda: with_semantic(npy("x" * 60_000, (4,))), "is large"),
    "a zip bomb": (lambda: with_semantic(npy("<i8", (2**23,), bytes(2**26))), "exceeds 8388608 bytes"),
    "a bzip2 bomb": (
        lambda: zipped(("semantic_prompt.npy", bytes(2**24)), compression=zipfile.ZIP_BZIP2),
        "another method",
    ),
    "an LZMA bomb": (
        lambda: zipped(("semantic_prompt.npy", bytes(2**24)), compression=zipfile.ZIP_LZMA),
        "another method",
    ),
    "deflate64": (lambda: with_compression(9), "another method"),
    "encryption": (lambda: with_compression(8, flags=1), "encrypted"),
    "members in a folder": (lambda: renamed("voice/{}"), "lacks semantic_prompt, coarse_prompt, fine_prompt"),
    "members above": (lambda: renamed("../{}"), "lacks"),
    "members at the root": (lambda: renamed("/{}"), "lacks"),
    "a member twice": (
        lambda: zipped(*[("semantic_prompt.npy", npy("<i8", (40,)))] * 2),
        "semantic_prompt is in it twice",
    ),
    "many members": (lambda: zipped(*((f"{i}", b"") for i in range(10_000))), "lacks"),
    "a zip in a zip": (lambda: zipped(("semantic_prompt.npy", saved())), "magic"),
    "more than fits": (lambda: bytes(2**24 + 1), "it exceeds 16777216 bytes"),
    "negative codes": (lambda: saved(fine_prompt=-FINE, coarse_prompt=-FINE[:2]), "fine holds -"),
    "codes that wrap around": (lambda: saved(fine_prompt=FINE + 2**32, coarse_prompt=FINE[:2] + 2**32), "holds 42949"),
    "the largest uint64": (lambda: saved(semantic_prompt=np.full(20, 2**64 - 1, np.uint64)), "holds 18446"),
    "floats": (lambda: saved(semantic_prompt=np.full(20, np.nan)), "dtype float64"),
    "another ratio": (lambda: saved(semantic_prompt=np.zeros(10, int)), "the ratio is 3.00"),
    "transposed": (lambda: saved(fine_prompt=FINE.T), "is not the beginning of fine"),
}  # fmt: skip
