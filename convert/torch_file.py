"""torch.save's zip files without PyTorch: a pickle of plain data, and storages that stay on the disk until read."""

import math
import mmap
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from bark_jax.layouts import GGML_REMEDY

from .errors import ConversionError
from .pickle_data import Global, Record, read_pickle

_LARGEST_PICKLE = 2**22  # bytes; the published ones have at most 0.2 MB
_MOST_AXES = 8
_LEGACY_MAGIC = b"\x80\x02\x8a\x0a"  # torch.save before 1.6
_GGML_MAGICS = (b"lmgg", b"ggml", b"GGUF")  # of bark.cpp and its relatives
_ENCRYPTED = 1  # flag of a zip member
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
_ZIP_ERRORS = (EOFError, ValueError, OverflowError, RuntimeError, struct.error, zipfile.BadZipFile)
_RESAVE = "re-save it: torch.save(torch.load(old, map_location='cpu'), new)"

_STORAGES = {
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.BoolStorage": np.dtype(np.bool_),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.LongStorage": np.dtype(np.int64),
}

MENTIONED = {*_STORAGES, "numpy.ndarray", "torch.float32", "torch.float16", "torch.bfloat16"}  # but never called


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, with a TorchTensor for each tensor and None for each numpy scalar.

    No byte of any tensor is read. Raises ConversionError naming the file.
    """
    try:
        archive = _Archive(path)
        return read_pickle(archive.data_pickle, CONSTRUCTORS, archive.storage, MENTIONED)
    except ConversionError as error:
        raise ConversionError(f"{path}: {error}") from error
    except OSError as error:
        raise ConversionError(f"cannot read {path}: {error}") from error
    except _ZIP_ERRORS as error:
        raise ConversionError(f"{path} is truncated or damaged ({error}): download it again") from error


class _Archive:
    """The members of the zip: one pickle and, for each key, a storage `data/KEY` beside it."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            _check_magic(file.read(len(_LEGACY_MAGIC)))
        self.path = path
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            self.members = {member.filename: member for member in entries}
            pickles = [name for name in self.members if name.rpartition("/")[2] == "data.pkl"]
            if len(pickles) != 1 or len(self.members) != len(entries):
                raise ConversionError("it is a zip file, but not one that torch.save wrote")
            self.prefix = pickles[0].removesuffix("data.pkl")
            self.data_pickle = self._read(archive, "data.pkl", _LARGEST_PICKLE)
            if "byteorder" in self and self._read(archive, "byteorder", 16) != b"little":
                raise ConversionError(f"it holds big-endian numbers: {_RESAVE} on another machine")

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.members

    def _read(self, archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
        member = self.member(name)
        if member.file_size > largest:
            raise ConversionError(f"its {name} is absurdly large: {member.file_size} bytes")
        return archive.read(member)

    def member(self, name: str) -> zipfile.ZipInfo:
        if name not in self:
            raise ConversionError(f"its member {name!r:.200} is missing")
        member = self.members[self.prefix + name]
        plain = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
        if not plain or member.flag_bits & _ENCRYPTED:
            raise ConversionError(f"its member {name!r:.200} is compressed or encrypted: {_RESAVE}")
        return member

    def storage(self, reference: Any) -> "_Storage":
        """The storage behind a persistent id: ("storage", type, key, device, number of elements)."""
        match reference:
            case ("storage", Global(name), str(key), str(), int(size)) if name in _STORAGES:
                storage = _Storage(self, self.member(f"data/{key}"), _STORAGES[name], size)
            case _:
                raise ConversionError("its pickle refers to something that is not a storage")
        if size * storage.dtype.itemsize != storage.member.file_size:
            raise ConversionError(f"storage {key!r:.200} declares {size} elements in {storage.member.file_size} bytes")
        return storage

    @cached_property
    def mapped(self) -> mmap.mmap:
        with self.path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def start(self, member: zipfile.ZipInfo) -> int:
        """Where a member's data begin in the file, which its local header says: this touches its first page."""
        header = self.mapped[member.header_offset : member.header_offset + _LOCAL_HEADER.size]
        if len(header) == _LOCAL_HEADER.size:
            signature, name, extra = _LOCAL_HEADER.unpack(header)
            start: int = member.header_offset + _LOCAL_HEADER.size + name + extra
            if signature == b"PK\x03\x04" and start + member.file_size <= len(self.mapped):
                return start
        raise ConversionError(f"{self.path} is damaged at {member.filename!r:.200}: download it again")


def _check_magic(magic: bytes) -> None:
    if magic == _LEGACY_MAGIC:
        raise ConversionError(f"it is in the format from before torch 1.6, which only torch reads: {_RESAVE}")
    if magic in _GGML_MAGICS:
        raise ConversionError(f"it is a ggml file, of bark.cpp: {GGML_REMEDY}")
    if magic[:2] != b"PK":
        raise ConversionError("it is not a torch.save file; if it is a Git LFS pointer, run `git lfs pull`")


@dataclass(frozen=True)
class _Storage:
    archive: _Archive
    member: zipfile.ZipInfo
    dtype: np.dtype[Any]
    size: int  # elements


@dataclass(frozen=True)
class TorchTensor:
    """A view of a storage on the disk; offset and strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.storage.dtype

    def read(self) -> np.ndarray:
        """A read-only view of the memory-mapped file."""
        archive, size = self.storage.archive, self.dtype.itemsize
        offset = archive.start(self.storage.member) + self.offset * size
        strides = [stride * size for stride in self.strides]
        return np.ndarray(self.shape, self.dtype, buffer=archive.mapped, offset=offset, strides=strides)


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, metadata: Any = None
) -> TorchTensor:
    if not isinstance(storage, _Storage) or metadata:
        raise TypeError("a tensor without a storage, or with a pending conjugation or negation")
    counts = all(type(n) is int and n >= 0 for n in (offset, *shape, *strides))
    if not counts or not len(shape) == len(strides) <= _MOST_AXES:
        raise TypeError("a tensor with impossible offset, shape or strides")
    # What an empty tensor declares is bounded too: numpy cannot hold every number.
    reach = offset + (0 not in shape) + sum(max(n - 1, 0) * stride for n, stride in zip(shape, strides, strict=True))
    largest = max((math.prod(n or 1 for n in shape), *strides))
    if reach > storage.size or largest > max(storage.size, 1):
        raise ConversionError(f"a tensor of shape {shape!s:.200} does not fit its storage of {storage.size} elements")
    return TorchTensor(storage, offset, tuple(shape), tuple(strides))


def _empty_dict() -> dict[Any, Any]:
    """An OrderedDict is always made empty, then filled."""
    return {}


def _record() -> Record:
    """A namespace is made empty too, then gets its attributes."""
    return Record()


def _parameter(data: Any, _grad: Any, _hooks: Any) -> Any:
    return data


def _nothing(*_: Any) -> None:
    """Numpy's numbers and arrays, devices and paths, such as training scripts keep, play no part in conversion."""


CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _empty_dict,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "argparse.Namespace": _record,
    "types.SimpleNamespace": _record,
    **dict.fromkeys(
        (
            "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",  # the latter of numpy 2
            "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "numpy.dtype",
            "_codecs.encode", "torch.device", "pathlib.PosixPath", "pathlib.WindowsPath",
        ),
        _nothing,
    ),
}  # fmt: skip
