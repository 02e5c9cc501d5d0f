"""The converted checkpoint: a folder that is written once, whole, and read without PyTorch or pickle.

config.json                 "format": "bark_jax", "version" and the fields of BarkConfig
semantic.safetensors        one file per network, tensors under their dotted NNX paths;
coarse.safetensors          the codec's in float32 unless the writer is told otherwise
fine.safetensors
codec.safetensors
tokenizer.json              of the `tokenizers` library
voices/**/*.npz             named after their path: `en_speaker_3`, `v2/en_speaker_6`
"""

import contextlib
import glob
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from safetensors import SafetensorError, safe_open

from bark_jax.config import BarkConfig, ConfigError
from bark_jax.files import replacing
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.sharding import put_parameter

if TYPE_CHECKING:
    from bark_jax.voice import Voice

NETWORKS = ("semantic", "coarse", "fine", "codec")
DTYPES = ("float32", "bfloat16")  # of stored parameters
FORMAT, VERSION = "bark_jax", 1  # raised with every change to the layout, or to what conversion makes of a source

_SAFETENSORS_CODES = {"float32": "F32", "bfloat16": "BF16"}
_CHUNK = 2**22  # elements cast and written at once
_ROOM = 2**26  # bytes for voices, tokenizer and configuration
_ABANDONED = 24 * 60 * 60  # seconds after which a partial folder is no longer being written

Shape = tuple[int, ...]

Put: TypeAlias = Callable[[str, np.ndarray], ArrayLike]
"""Called with the dotted path and the value of a parameter; what it returns takes its place in the network."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be found, read or written; the message says what is wrong and what to do."""


def abstract_network(
    config: BarkConfig, name: str, *, param_dtype: DTypeLike = jnp.float32, dtype: DTypeLike = jnp.float32
) -> nnx.Module:
    """The network `name` (one of NETWORKS) with shapes in place of arrays, at no cost in memory.

    param_dtype and dtype are those of the parameters and of the computation; the codec ignores both and is float32.
    """
    dtypes: dict[str, Any] = {"param_dtype": jnp.dtype(param_dtype), "dtype": jnp.dtype(dtype)}
    builders = {
        "semantic": lambda: GPT(config.semantic.gpt, **dtypes),
        "coarse": lambda: GPT(config.coarse.gpt, **dtypes),
        "fine": lambda: FineGPT(config.fine.gpt, **dtypes),
        "codec": lambda: Encodec(config.codec),
    }
    network: nnx.Module = nnx.eval_shape(builders[name])
    return network


def parameter_shapes(config: BarkConfig, name: str) -> dict[str, Shape]:
    """Dotted path → shape of every parameter of the network `name`."""
    return {path: leaf.shape for path, leaf in parameters(abstract_network(config, name)).items()}


def fill(module: nnx.Module, tensors: Mapping[str, ArrayLike]) -> nnx.Module:
    """An abstract module with the tensors, named by dotted path, as its parameters: NumPy arrays stay on the host.

    Raises CheckpointError with every missing, unknown and misshapen tensor.
    """
    leaves = parameters(module)
    problems = [f"{name} is missing" for name in leaves.keys() - tensors.keys()]
    problems += [f"{name} is unknown" for name in tensors.keys() - leaves.keys()]
    problems += [
        f"{name} has shape {np.shape(tensors[name])} instead of {leaf.shape}"
        for name, leaf in leaves.items()
        if name in tensors and np.shape(tensors[name]) != leaf.shape
    ]
    if problems:
        raise CheckpointError("the tensors do not fit the network:\n  " + "\n  ".join(sorted(problems)))
    return map_parameters(lambda path, _: tensors[path], module)


def map_parameters(put: Put, network: nnx.Module) -> nnx.Module:
    """The network with what `put` returns in place of every parameter."""
    # Not nnx.split and nnx.merge: a module from the latter is part of a cycle, so its arrays would be freed late.
    return jax.tree_util.tree_map_with_path(lambda path, leaf: put(_dotted(path), leaf), network)


def parameters(module: nnx.Module) -> dict[str, Any]:
    """Dotted path → array, or its abstract stand-in, of every parameter: what `fill` takes."""
    return {_dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(module)}


def _dotted(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")  # which nnx.Param adds


def random_networks(
    config: BarkConfig,
    key: Array,
    *,
    param_dtype: DTypeLike = jnp.float32,
    dtype: DTypeLike = jnp.float32,
    put: Put = put_parameter,
) -> dict[str, nnx.Module]:
    """All four networks with random weights from a typed key: the same numbers, rounded, whatever the dtypes.

    put: where each parameter goes, by default to the default device.
    """
    dtypes: dict[str, DTypeLike] = {"param_dtype": param_dtype, "dtype": dtype}
    return {name: random_network(config, name, key, put=put, **dtypes) for name in NETWORKS}


def random_network(
    config: BarkConfig,
    name: str,
    key: Array,
    *,
    param_dtype: DTypeLike = jnp.float32,
    dtype: DTypeLike = jnp.float32,
    put: Put = put_parameter,
) -> nnx.Module:
    """The network `name` of `random_networks`."""
    # NumPy draws three times faster than threefry on a CPU, and compiles nothing for each of the codec's shapes.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.fold_in(key, NETWORKS.index(name)))))
    abstract = abstract_network(config, name, param_dtype=param_dtype, dtype=dtype)
    shapes = parameters(abstract).items()
    return fill(abstract, {path: put(path, _random_tensor(rng, name, path, leaf)) for path, leaf in shapes})


def _random_tensor(rng: np.random.Generator, network: str, path: str, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    """Zero biases, unit scales, GPT-2's deviation of 0.02; a codec whose noise is loud enough and does not clip."""
    kind = path.rpartition(".")[2]
    if kind in ("bias", "scale"):
        return np.full(leaf.shape, kind == "scale", leaf.dtype)
    fan_in = math.prod(leaf.shape[:-1]) if kind == "kernel" else leaf.shape[-1]
    values = rng.standard_normal(leaf.shape, np.float32)
    values *= 0.85 * fan_in**-0.5 if network == "codec" else 0.02
    return values.astype(leaf.dtype, copy=False)


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder is a converted checkpoint, of any version."""
    try:
        return read_json(folder / "config.json").get("format") == FORMAT
    except CheckpointError:
        return False


def read_config(folder: Path) -> BarkConfig:
    """The configuration of a converted checkpoint. Raises CheckpointError."""
    path = folder / "config.json"
    try:
        values = read_json(path)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} is not a converted checkpoint: {error}") from error
    if values.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder} is not a converted checkpoint: convert it with `bark-jax convert`")
    if (version := values.pop("version", None)) != VERSION:
        raise CheckpointError(f"{path} has format version {version}, this release reads {VERSION}: convert it again")
    try:
        return BarkConfig.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, not an object")
    return values


def read_network(
    folder: Path,
    name: str,
    config: BarkConfig,
    *,
    param_dtype: DTypeLike | None = None,
    dtype: DTypeLike = jnp.float32,
    put: Put = put_parameter,
) -> nnx.Module:
    """The network `name` of a converted checkpoint.

    param_dtype of the parameters, None = as stored; dtype of the computation. put: where each parameter goes, by
    default to the default device. The file is memory-mapped and read tensor by tensor, so that no two copies of the
    network exist. Raises CheckpointError when it is missing, damaged or does not fit the configuration.
    """
    path = folder / f"{name}.safetensors"
    abstract = abstract_network(config, name, dtype=dtype)
    if name == "codec":
        param_dtype = jnp.float32
    try:
        with safe_open(path, framework="np") as file:
            tensors = {
                path: put(path, np.asarray(file.get_tensor(path), param_dtype))
                for path in file.keys()  # noqa: SIM118
            }
        return fill(abstract, tensors)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; convert or download it again") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def write_checkpoint(
    folder: Path,
    config: BarkConfig,
    networks: Mapping[str, Iterable[tuple[str, np.ndarray]]],
    *,
    tokenizer_json: str,
    voices: Iterable[tuple[str, "Voice"]] = (),
    dtype: str = "float32",
    codec_dtype: str = "float32",
) -> None:
    """Write a checkpoint that appears under its name only when it is complete.

    networks: for each of NETWORKS the pairs of dotted path and array, each path once, in any order; one array is in
    use at a time. dtype, codec_dtype: of DTYPES, for the parameters of the transformers and of the codec; arrays of
    another are cast on the way. An existing folder is never replaced, unless it is empty: delete it first. Raises
    CheckpointError.
    """
    dtypes = {name: codec_dtype if name == "codec" else dtype for name in NETWORKS}
    if wrong := set(dtypes.values()) - set(DTYPES):
        raise CheckpointError(f"checkpoints are stored as {' or '.join(DTYPES)}, not {wrong.pop()!r}")
    shapes = {name: parameter_shapes(config, name) for name in NETWORKS}
    size = sum(_bytes(shape, dtypes[name]) for name in NETWORKS for shape in shapes[name].values())
    with _whole_or_nothing(folder.absolute(), size + _ROOM) as partial:
        for name in NETWORKS:
            with _synced(partial / f"{name}.safetensors") as file:
                _write_network(file, shapes[name], networks[name], dtypes[name])
        for name, voice in voices:
            _save_voice(partial / "voices", name, voice)
        _write_settings(partial, config, tokenizer_json)


def write_model_folder(folder: Path, config: BarkConfig, *, tokenizer_json: str) -> None:
    """Write a checkpoint that lacks its networks still: `write_network` brings them, one by one.

    Nothing is replaced, and nothing is left half written. Raises CheckpointError.
    """
    with _whole_or_nothing(folder.absolute(), _ROOM) as partial:
        _write_settings(partial, config, tokenizer_json)


def write_network(
    folder: Path, name: str, config: BarkConfig, tensors: Iterable[tuple[str, np.ndarray]], *, dtype: str = "float32"
) -> Path:
    """Write or replace one network of a checkpoint, whole or not at all; the path of its file.

    tensors, dtype: as in `write_checkpoint`. Raises CheckpointError.
    """
    path = folder / f"{name}.safetensors"
    try:
        with replacing(path) as temporary, _synced(temporary) as file:
            _write_network(file, parameter_shapes(config, name), tensors, dtype)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error}") from error
    return path


def copy_checkpoint(source: Path, folder: Path) -> None:
    """Copy a checkpoint, but no report on it, to a name that is vacant, whole or not at all. Raises CheckpointError."""
    size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    with _whole_or_nothing(folder.absolute(), size) as partial:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns("*.md", "report"), dirs_exist_ok=True)


def _write_settings(folder: Path, config: BarkConfig, tokenizer_json: str) -> None:
    with _synced(folder / "tokenizer.json") as file:
        file.write(tokenizer_json.encode())
    with _synced(folder / "config.json") as file:
        values = {"format": FORMAT, "version": VERSION} | json.loads(config.to_json())
        file.write(json.dumps(values, indent=2).encode())


def is_vacant(folder: Path) -> bool:
    """Whether a checkpoint may be written there: nothing is, or an empty folder. Raises CheckpointError."""
    try:
        return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise CheckpointError(f"cannot look into {folder}: {error}") from error


@contextlib.contextmanager
def _whole_or_nothing(folder: Path, size: int) -> Iterator[Path]:
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
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file whose content is on the disk by the end of the block: a power cut later leaves no holes in it.

    It is not used for voices, and entries of folders are not synced.
    """
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _write_network(
    file: BinaryIO, shapes: Mapping[str, Shape], tensors: Iterable[tuple[str, np.ndarray]], dtype: str
) -> None:
    """The safetensors format, one tensor at a time: the library's own writer wants all of them in memory at once.

    Length of the header, eight bytes little-endian; the header, JSON with each tensor's place; the data.
    """
    header, begins, end = {}, {}, 0
    for name, shape in shapes.items():
        begins[name], end = end, end + _bytes(shape, dtype)
        header[name] = {"dtype": _SAFETENSORS_CODES[dtype], "shape": shape, "data_offsets": [begins[name], end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # data are aligned
    file.write(len(text).to_bytes(8, "little") + text)
    start, due = file.tell(), dict(shapes)
    for name, tensor in tensors:
        if due.pop(name, None) != tensor.shape:
            raise CheckpointError(f"{file.name}: {name} {tensor.shape} is unknown, misshapen or written twice")
        file.seek(start + begins[name])
        flat = tensor.reshape(-1)
        for chunk in range(0, flat.size, _CHUNK):
            file.write(flat[chunk : chunk + _CHUNK].astype(jnp.dtype(dtype), copy=False).view(np.uint8).data)
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
