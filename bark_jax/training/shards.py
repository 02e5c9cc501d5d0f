"""Clips of arrays in few files: written shard by shard, and mapped into memory to be read in any order.

{kind}-00000.npy …  flat arrays, the clips of a shard one after another
{kind}.jsonl        a line for each clip, in order: its shard, its size there, and the facts given to the writer
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bark_jax.errors import TrainingError
from bark_jax.files import replacing

AGAIN = "make the data again with `bark-jax data prepare --overwrite`"
SHARD_BYTES = 2**26  # after which a shard is full


class DataError(TrainingError):
    """Training data that cannot be made, read or used; the message says what is wrong and what to do."""


class ShardWriter:
    """Writes clips of one kind into a folder, each file whole or not at all. Raises OSError."""

    def __init__(self, folder: Path, kind: str, dtype: npt.DTypeLike) -> None:
        self.folder, self.kind, self.dtype = folder, kind, np.dtype(dtype)
        self.shards = 0
        self.waiting: list[npt.NDArray[Any]] = []  # until their shard is full
        self.bytes = 0  # of those
        self.index: list[dict[str, Any]] = []

    def add(self, array: npt.NDArray[Any], **facts: Any) -> None:
        """The next clip, a flat array, and what its line of the index says."""
        array = array.astype(self.dtype)
        self.waiting.append(array)
        self.bytes += array.nbytes
        self.index.append({"shard": self.shards, "size": array.size, **facts})
        if self.bytes >= SHARD_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the last shard, then the index."""
        self._flush()
        with replacing(_index(self.folder, self.kind)) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.index), encoding="utf-8")

    def _flush(self) -> None:
        if self.waiting:
            with replacing(_shard(self.folder, self.kind, self.shards)) as temporary:
                _save(temporary, np.concatenate(self.waiting))
            self.shards += 1
            self.waiting, self.bytes = [], 0


class Shards:
    """The clips of one kind in a folder, read as views of mapped files.

    Opening compares every file with its index. A pickle holds the index alone: another process maps the files itself.
    Raises DataError when a file is missing or damaged.
    """

    def __init__(self, folder: Path, kind: str, dtype: npt.DTypeLike, index: Sequence[dict[str, Any]]) -> None:
        self.folder, self.kind, self.dtype = folder, kind, np.dtype(dtype)
        self.shard = np.array([line["shard"] for line in index], np.int64)
        self.size = np.array([line["size"] for line in index], np.int64)
        self.begin = np.zeros(len(index), np.int64)  # of each clip in its shard
        self.maps: dict[int, npt.NDArray[Any]] = {}
        for shard in np.unique(self.shard).tolist():
            clips = np.flatnonzero(self.shard == shard)
            ends = np.cumsum(self.size[clips])
            self.begin[clips] = ends - self.size[clips]
            if self._map(shard).shape != (ends[-1],):
                raise DataError(f"{_shard(folder, kind, shard)} does not have the size that its index states: {AGAIN}")

    def read(self, clip: int) -> npt.NDArray[Any]:
        """The flat array of that clip, read-only."""
        begin = self.begin[clip]
        return self._map(int(self.shard[clip]))[begin : begin + self.size[clip]]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "maps": {}}

    def _map(self, shard: int) -> npt.NDArray[Any]:
        if shard not in self.maps:
            path = _shard(self.folder, self.kind, shard)
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise DataError(f"cannot read {path}: {error}; {AGAIN}") from error
            if not isinstance(array, np.ndarray) or array.dtype != self.dtype:
                raise DataError(f"{path} is not an array of {self.dtype}: {AGAIN}")
            self.maps[shard] = array
        return self.maps[shard]


def read_index(folder: Path, kind: str, facts: dict[str, type]) -> list[dict[str, Any]]:
    """The lines of an index, each with exactly those facts of those types. Raises DataError."""
    path, types = _index(folder, kind), {"shard": int, "size": int, **facts}
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}; {AGAIN}") from error
    for number, line in enumerate(lines, start=1):
        if not has_types(line, types) or any(line[name] < 0 for name, kind in types.items() if kind is int):
            raise DataError(f"{path}, line {number}: it does not describe a clip; {AGAIN}")
    return lines


def has_types(values: Any, types: dict[str, type]) -> bool:
    """Whether a value of parsed JSON is an object of exactly these fields and types."""
    return (
        isinstance(values, dict)
        and values.keys() == types.keys()
        and all(type(values[name]) is kind for name, kind in types.items())
    )


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    """`np.save`, whose errors do not say why a file could not be written."""
    with path.open("xb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def _shard(folder: Path, kind: str, shard: int) -> Path:
    return folder / f"{kind}-{shard:05d}.npy"


def _index(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.jsonl"
