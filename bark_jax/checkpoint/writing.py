"""Writing a converted checkpoint (see `bark_jax.checkpoint.layout`): whole or not at all."""

import contextlib
import glob
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import jax.numpy as jnp
import numpy as np

from bark_jax.checkpoint.layout import CODEC_DTYPES, DTYPES, FORMAT, VERSION, CheckpointError
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.files import replacing
from bark_jax.models.parameters import Shape, abstract_network, parameters
from bark_jax.models.quantised import held_as
from bark_jax.voices.names import DEFAULT_FILE

if TYPE_CHECKING:
    from bark_jax.voices.voice import Voice

_SAFETENSORS_CODES = {
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "float64": "F64",
    "bool": "BOOL",
    "int8": "I8",
}
_CHUNK = 2**22  # elements cast and written at once
_ROOM = 2**26  # bytes for voices, tokenizer and configuration
_ABANDONED = 24 * 60 * 60  # seconds after which a partial folder is no longer being written


def write_checkpoint(
    folder: Path,
    config: BarkConfig,
    networks: Mapping[str, Iterable[tuple[str, np.ndarray]]],
    *,
    tokenizer_json: str,
    voices: Iterable[tuple[str, "Voice"]] = (),
    default_voice: str | None = None,
    dtype: str = "float32",
    codec_dtype: str = "float32",
) -> None:
    """Write a checkpoint that appears under its name only when it is complete.

    networks: for each of NETWORKS the pairs of dotted path and array, each path once, in any order; one array is in
    use at a time. default_voice: the name of the one of the voices that the model speaks with when none is asked for.
    dtype, codec_dtype: of DTYPES, for the parameters of the transformers and of the codec; arrays of
    another are cast on the way. An existing folder is never replaced, unless it is empty: delete it first. Raises
    CheckpointError.
    """
    dtypes = {name: codec_dtype if name == "codec" else dtype for name in NETWORKS}
    if wrong := ({dtype} - set(DTYPES)) | ({codec_dtype} - set(CODEC_DTYPES)):
        raise CheckpointError(
            f"a checkpoint is stored as {', '.join(DTYPES)} (its codec not as int8), not {wrong.pop()!r}"
        )
    entries = {name: _entries(config, name, dtypes[name]) for name in NETWORKS}
    size = sum(_bytes(shape, code) for network in entries.values() for code, shape in network.values())
    with whole_or_nothing(folder.absolute(), size + _ROOM) as partial:
        for name in NETWORKS:
            with synced(partial / f"{name}.safetensors") as file:
                write_safetensors(file, entries[name], _held(networks[name], entries[name]))
        for name, voice in voices:
            _save_voice(partial / "voices", name, voice)
        if default_voice is not None:
            (partial / "voices" / DEFAULT_FILE).write_text(f"{default_voice}\n", encoding="utf-8")
        _write_settings(partial, config, tokenizer_json)


def write_model_folder(folder: Path, config: BarkConfig, *, tokenizer_json: str) -> None:
    """Write a checkpoint that lacks its networks still: `write_network` brings them, one by one.

    Nothing is replaced, and nothing is left half written. Raises CheckpointError.
    """
    with whole_or_nothing(folder.absolute(), _ROOM) as partial:
        _write_settings(partial, config, tokenizer_json)


def write_network(
    folder: Path, name: str, config: BarkConfig, tensors: Iterable[tuple[str, np.ndarray]], *, dtype: str = "float32"
) -> Path:
    """Write or replace one network of a checkpoint, whole or not at all; the path of its file.

    tensors, dtype: as in `write_checkpoint`. Raises CheckpointError.
    """
    path = folder / f"{name}.safetensors"
    try:
        with replacing(path) as temporary, synced(temporary) as file:
            entries = _entries(config, name, dtype)
            write_safetensors(file, entries, _held(tensors, entries))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error}") from error
    return path


def copy_checkpoint(source: Path, folder: Path) -> None:
    """Copy a checkpoint to a name that is vacant, whole or not at all. Raises CheckpointError."""
    size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    with whole_or_nothing(folder.absolute(), size) as partial:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.md", "report"), dirs_exist_ok=True)


def _write_settings(folder: Path, config: BarkConfig, tokenizer_json: str) -> None:
    with synced(folder / "tokenizer.json") as file:
        file.write(tokenizer_json.encode())
    with synced(folder / "config.json") as file:
        values = {"format": FORMAT, "version": VERSION} | json.loads(config.to_json())
        file.write(json.dumps(values, indent=2).encode())


def is_vacant(folder: Path) -> bool:
    """Whether a checkpoint may be written there: nothing is, or an empty folder. Raises CheckpointError."""
    try:
        return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise CheckpointError(f"cannot look into {folder}: {error}") from error


@contextlib.contextmanager
def whole_or_nothing(folder: Path, size: int) -> Iterator[Path]:
    """A hidden sibling of the folder to write `size` bytes into: renamed at the end, removed on any exception."""
    if not is_vacant(folder):
        raise CheckpointError(f"{folder} exists already: delete it or choose another name")
    siblings = f".{folder.name}.partial-"
    _sweep(folder.parent, siblings)
    partial = folder.with_name(siblings + secrets.token_hex(4))
    try:
        partial.mkdir(parents=True)
        if (free := shutil.disk_usage(partial).free) < size:
            raise CheckpointError(f"{folder} needs {size / 1e9:.2f} GB, only {free / 1e9:.2f} GB are free there")
        yield partial
        partial.replace(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the partial folders that killed writers left; a young one may still be in use."""
    with contextlib.suppress(OSError):  # another process may be sweeping too
        for partial in parent.glob(f"{glob.escape(prefix)}*"):
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """A new file whose content is on the disk by the end of the block: a power cut later leaves no holes in it.

    It is not used for voices, and entries of folders are not synced.
    """
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _entries(config: BarkConfig, name: str, dtype: str) -> dict[str, tuple[str, Shape]]:
    """Dtype and shape of every tensor of a network that is stored in a dtype: beside int8, vectors are float32."""
    leaves = parameters(abstract_network(config, name, param_dtype=dtype))
    return {path: (dtype if name == "codec" else str(leaf.dtype), leaf.shape) for path, leaf in leaves.items()}


def _held(
    tensors: Iterable[tuple[str, np.ndarray]], entries: Mapping[str, tuple[str, Shape]]
) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors, with scales where they become int8."""
    for path, tensor in tensors:
        if entries.get(path, ("",))[0] == "int8":
            yield from held_as(path, tensor, np.int8)
        else:
            yield path, tensor


def write_safetensors(
    file: BinaryIO,
    entries: Mapping[str, tuple[str, Shape]],
    tensors: Iterable[tuple[str, np.ndarray]],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """The safetensors format, one tensor at a time: the library's own writer wants all of them in memory at once.

    entries: dtype and shape of each tensor. tensors: each once, in any order, cast on the way. Length of the header,
    eight bytes little-endian; the header, JSON with each tensor's place; the data. Raises CheckpointError.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    begins, end = {}, 0
    for name, (code, shape) in entries.items():
        begins[name], end = end, end + _bytes(shape, code)
        header[name] = {"dtype": _SAFETENSORS_CODES[code], "shape": shape, "data_offsets": [begins[name], end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # data are aligned
    file.write(len(text).to_bytes(8, "little") + text)
    start, due = file.tell(), dict(entries)
    for name, tensor in tensors:
        entry = due.pop(name, None)
        if entry is None or entry[1] != tensor.shape:
            raise CheckpointError(f"{file.name}: {name} {tensor.shape} is unknown, misshapen or written twice")
        dtype = jnp.dtype(entry[0])
        file.seek(start + begins[name])
        flat = tensor.reshape(-1)
        for chunk in range(0, flat.size, _CHUNK):
            file.write(flat[chunk : chunk + _CHUNK].astype(dtype, copy=False).view(np.uint8).data)
    if due:
        raise CheckpointError(f"{file.name}: {', '.join(due)} missing")


def _bytes(shape: Shape, dtype: str) -> int:
    return math.prod(shape) * jnp.dtype(dtype).itemsize


def _save_voice(folder: Path, name: str, voice: "Voice") -> None:
    path = (folder / f"{name}.npz").resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CheckpointError(f"the voice name {name!r} leads out of the checkpoint")
    path.parent.mkdir(parents=True, exist_ok=True)
    voice.save(path)
