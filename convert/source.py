"""The two layouts a source folder may have, Suno's and Hugging Face's, presented alike."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bark_jax.checkpoint import is_checkpoint
from bark_jax.config import BarkConfig
from bark_jax.layouts import (
    ENCODEC,
    ENCODEC_URL,
    HUGGINGFACE_WEIGHTS,
    suno_files,
    suno_sizes,
    torch_checkpoints,
)
from bark_jax.text import TextError, load_tokenizer

from .configs import read_huggingface_config, suno_config
from .errors import ConversionError
from .tensors import LazyTensors, read_tensors, torch_tensors
from .torch_file import read_torch_file

_PREFIXES = {"semantic": "semantic.", "coarse": "coarse_acoustics.", "fine": "fine_acoustics.", "codec": "codec_model."}
TOKENIZER_REPOSITORY = "google-bert/bert-base-multilingual-cased"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint of PyTorch's: for each of bark_jax.config.NETWORKS its tensors by name."""

    description: str
    config: BarkConfig
    networks: dict[str, LazyTensors]
    strangers: list[str]  # labels of tensors that belong to no network
    tokenizer_json: str
    folder: Path
    suno_files: dict[str, Path] | None  # by network; None for Hugging Face's layout


def open_source(folder: Path, *, size: str | None = None, tokenizer: Path | None = None) -> Source:
    """Find out what a folder holds. No tensor is read.

    Hugging Face's weights are preferred to Suno's, and Suno's large files to the small ones; `size`, one of SIZES, asks
    for Suno's files of that size. tokenizer: a file or folder to take it from instead of the source. Raises
    CheckpointError, mostly a ConversionError.
    """
    if not folder.is_dir():
        raise ConversionError(f"{folder} is not a folder")
    if is_checkpoint(folder):
        raise ConversionError(f"{folder} is a converted checkpoint already")
    weights = next((folder / name for name in HUGGINGFACE_WEIGHTS if (folder / name).is_file()), None)
    if weights and size is None:
        return _huggingface(folder, weights, tokenizer)
    return _suno(folder, _suno_size(folder, size), tokenizer)


def _huggingface(folder: Path, weights: Path, tokenizer: Path | None) -> Source:
    config = read_huggingface_config(folder)
    networks: dict[str, LazyTensors] = {network: {} for network in _PREFIXES}
    strangers = []
    for name, tensor in read_tensors(weights).items():
        for network, prefix in _PREFIXES.items():
            if name.startswith(prefix):
                networks[network][name.removeprefix(prefix)] = tensor
                break
        else:
            strangers.append(tensor.label)
    return Source(
        description=f"Hugging Face's {weights.name}", config=config, networks=networks, strangers=strangers,
        tokenizer_json=_tokenizer_json(tokenizer or folder), folder=folder, suno_files=None,
    )  # fmt: skip


def _suno(folder: Path, size: str, tokenizer: Path | None) -> Source:
    files = suno_files(folder, size)
    arguments, networks = {}, {}
    for network, path in files.items():
        arguments[network], networks[network] = _suno_file(path)
    files["codec"] = _encodec_file(folder)
    networks["codec"] = read_tensors(files["codec"])
    return Source(
        description=f"Suno's {size} files", config=suno_config(folder, arguments), networks=networks, strangers=[],
        tokenizer_json=_tokenizer_json(tokenizer or folder), folder=folder, suno_files=files,
    )  # fmt: skip


def _suno_size(folder: Path, size: str | None) -> str:
    """The size asked for, or the larger one that is complete."""
    missing = {s: [p.name for p in suno_files(folder, s).values() if not p.is_file()] for s in suno_sizes()}
    for candidate in [size] if size else missing:
        if not missing[candidate]:
            return candidate
    lacks = "; ".join(f"Suno's {s} model lacks {', '.join(missing[s])}" for s in ([size] if size else missing))
    hint = "" if size else f" and there is none of {', '.join(HUGGINGFACE_WEIGHTS)}"
    raise ConversionError(f"{folder} holds no complete checkpoint of Bark: {lacks}{hint}")


def _suno_file(path: Path) -> tuple[dict[str, Any], LazyTensors]:
    """`model_args` and the tensors of `model`; the optimizer's are not touched."""
    content = read_torch_file(path)
    if not isinstance(content, dict) or not isinstance(content.get("model_args"), dict) or "model" not in content:
        raise ConversionError(f"{path} is not one of Suno's files: it has no model and model_args")
    arguments = {key: value for key, value in content["model_args"].items() if type(value) in (int, float, bool, str)}
    return arguments, torch_tensors(path, content["model"])


def _encodec_file(folder: Path) -> Path:
    """EnCodec's weights beside Suno's files, or where torch.hub keeps them (which is where Suno's code puts them)."""
    folders = (folder, torch_checkpoints())
    for candidate in folders:
        if (candidate / ENCODEC).is_file():
            return candidate / ENCODEC
    raise ConversionError(
        f"EnCodec's weights are missing: put {ENCODEC} into {folder} "
        f"(it was sought in {folders[1]} too; download it from {ENCODEC_URL})"
    )


def _tokenizer_json(path: Path) -> str:
    try:
        return load_tokenizer(path).to_str()
    except TextError as error:
        raise ConversionError(f"{error}; Bark's is that of {TOKENIZER_REPOSITORY} (--tokenizer)") from error
