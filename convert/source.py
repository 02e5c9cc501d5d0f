"""What a source folder holds, in Suno's or Hugging Face's layout or converted already, presented alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bark_jax.checkpoint import is_checkpoint, read_config, read_json
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.layouts import (
    ENCODEC,
    ENCODEC_URL,
    HUGGINGFACE_WEIGHTS,
    PREFIXES,
    STAGE_FILES,
    explain_missing,
    over_a_model,
    suno_files,
    suno_sizes,
    torch_checkpoints,
)

from .configs import SECTIONS, read_huggingface_config, stage_sizes, suno_config, with_stage
from .errors import ConversionError
from .ignored import ignored_settings
from .rules import COUNTERS
from .stages import find_stage, make_stage, read_stage
from .tensors import LazyTensors, read_model_file, read_tensors
from .tokenizer import read_tokenizer


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint to convert: for each of bark_jax.config.NETWORKS its tensors by name."""

    description: str
    config: BarkConfig
    networks: dict[str, LazyTensors]
    tokenizer_json: str
    folder: Path
    unclaimed: list[str] = field(default_factory=list)  # labels of tensors that belong to no network
    ignored: list[str] = field(default_factory=list)  # settings that this project does not have
    converted: frozenset[str] = frozenset()  # networks whose tensors have our names and shapes already
    suno_files: dict[str, Path] | None = None  # by network; None for other layouts


def open_source(
    folder: Path, *, size: str | None = None, tokenizer: Path | None = None, stages: Mapping[str, Path] | None = None
) -> Source:
    """Find out what a folder holds. No tensor is read.

    Hugging Face's weights are preferred to Suno's, and Suno's large files to the small ones; `size`, one of SIZES, asks
    for Suno's files of that size. tokenizer: a file or folder to take it from instead of the source. stages: files or
    folders of single networks, by network, in place of those of the folder, which may then be a converted checkpoint.
    Raises CheckpointError, mostly a ConversionError.
    """
    if not folder.is_dir():
        raise ConversionError(f"{folder} is not a folder{f': {explain_missing(folder)}' if folder.is_file() else ''}")
    source = _open(folder, size, tokenizer, bool(stages))
    for network, path in (stages or {}).items():
        source = _with_stage(source, network, path)
    return source


def _open(folder: Path, size: str | None, tokenizer: Path | None, as_base: bool) -> Source:
    if is_checkpoint(folder):
        if not as_base:
            raise ConversionError(f"{folder} is a converted checkpoint already")
        return _converted(folder, tokenizer)
    weights = next((folder / name for name in HUGGINGFACE_WEIGHTS if (folder / name).is_file()), None)
    if weights and size is None:
        return _huggingface(folder, weights, tokenizer)
    return _suno(folder, _suno_size(folder, size), tokenizer)


def _with_stage(source: Source, network: str, path: Path) -> Source:
    """The source with another network in place of its own."""
    stage = read_stage(path, network, stage_sizes(source.config, network))
    return replace(
        source, config=with_stage(source.config, network, stage.sizes, str(path)),
        description=f"{source.description}, {network} from {path}",
        networks=source.networks | {network: stage.tensors}, converted=source.converted - {network},
    )  # fmt: skip


def _converted(folder: Path, tokenizer: Path | None) -> Source:
    return Source(
        description="converted already", config=read_config(folder), folder=folder, converted=frozenset(NETWORKS),
        networks={network: read_tensors(folder / f"{network}.safetensors") for network in NETWORKS},
        tokenizer_json=read_tokenizer(folder, tokenizer),
    )  # fmt: skip


def _huggingface(folder: Path, weights: Path, tokenizer: Path | None) -> Source:
    said = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if not said.keys() & set(SECTIONS.values()) and (stage := find_stage(folder, weights)):
        raise ConversionError(f"{folder} is one network by itself: {over_a_model(folder, stage.network)}")
    config, ignored = read_huggingface_config(folder), ignored_settings(folder)
    networks: dict[str, LazyTensors] = {network: {} for network in PREFIXES}
    unclaimed = []
    for name, tensor in read_tensors(weights).items():
        network = next((network for network, prefix in PREFIXES.items() if name.startswith(prefix)), None)
        if network or name in COUNTERS:  # of all networks: the plan of one leaves them out by rule
            network = network or "semantic"
            networks[network][name.removeprefix(PREFIXES[network])] = tensor
        else:
            unclaimed.append(tensor.label)
    return Source(
        description=f"Hugging Face's {weights.name}", config=config, networks=networks, unclaimed=unclaimed,
        tokenizer_json=read_tokenizer(folder, tokenizer), folder=folder, ignored=ignored,
    )  # fmt: skip


def _suno(folder: Path, size: str, tokenizer: Path | None) -> Source:
    files = suno_files(folder, size)
    stages = {network: make_stage(path, *read_model_file(path), {}) for network, path in files.items()}
    files["codec"] = _encodec_file(folder)
    networks = {network: stage.tensors for network, stage in stages.items()}
    return Source(
        description=f"Suno's {size} files", folder=folder, suno_files=files,
        config=suno_config(folder, {network: stage.sizes for network, stage in stages.items()}),
        networks=networks | {"codec": read_tensors(files["codec"])},
        tokenizer_json=read_tokenizer(folder, tokenizer),
    )  # fmt: skip


def _suno_size(folder: Path, size: str | None) -> str:
    """The size asked for, or the larger one that is complete."""
    missing = {s: [p.name for p in suno_files(folder, s).values() if not p.is_file()] for s in suno_sizes()}
    for candidate in [size] if size else missing:
        if not missing[candidate]:
            return candidate
    lacks = "; ".join(f"Suno's {s} model lacks {', '.join(missing[s])}" for s in ([size] if size else missing))
    hint = "" if size else f" and there is none of {', '.join(HUGGINGFACE_WEIGHTS)}; {_single(folder)}"
    raise ConversionError(f"{folder} holds no complete checkpoint of Bark: {lacks}{hint}")


def _single(folder: Path) -> str:
    """What to do with a folder that lacks some of the networks."""
    for network, names in STAGE_FILES.items():
        for name in names:
            if (folder / name).is_file():
                return f"if {name} is all there is, {over_a_model(folder / name, network)}"
    return explain_missing(folder)


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
