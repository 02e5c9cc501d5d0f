"""One network of Bark by itself, as fine-tuning leaves it: a file, or a folder with a flat config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bark_jax.checkpoint import is_checkpoint, read_json
from bark_jax.layouts import HUGGINGFACE_WEIGHTS, PREFIXES, STAGE_FILES, TRANSFORMERS, explain_missing
from bark_jax.quoting import shorten

from .configs import SECTIONS, flat_section
from .errors import ConversionError
from .rules import first_match, transformer_rows
from .tensors import LazyTensors, read_model_file, read_tensors

_MOST_CODEBOOKS = 64  # looked for
_HEAD_WIDTH = 64  # of both published sizes
_WEIGHTS = ("*.pt", "*.pth", "*.ckpt", "*.bin", "*.safetensors")
_OF_TRAINERS = {"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state.pth"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A transformer of one of TRANSFORMERS, `network`, which its tensors show."""

    path: Path
    network: str
    sizes: dict[str, Any]  # by Hugging Face's names: those that are written down, else those of the tensors
    tensors: LazyTensors


def read_stage(path: Path, network: str, base: Mapping[str, Any]) -> Stage:
    """The network in a file or folder, which has to be the one that is asked for.

    base: the sizes of the model it goes over, by Hugging Face's names: the number of heads is taken from there if it is
    nowhere else. Out of a whole model in Hugging Face's layout comes the network that is asked for. Raises
    CheckpointError, mostly a ConversionError.
    """
    said, tensors = _read(path, network)
    stage = make_stage(path, said, tensors, base)
    same_sizes = all(stage.sizes.get(key) == base[key] for key in ("input_vocab_size", "output_vocab_size"))
    if stage.network != network and not same_sizes:
        raise ConversionError(f"{path} is a {stage.network} network: give it as --{stage.network}")
    return stage


def find_stage(folder: Path, weights: Path) -> Stage | None:
    """The network in a folder that holds no other; None if it holds something else. Raises CheckpointError."""
    said, tensors = _read_weights(folder, weights)
    if any(name.startswith(tuple(PREFIXES.values())) for name in tensors):
        return None
    try:
        return make_stage(folder, said, tensors, {})
    except ConversionError:
        return None


def make_stage(path: Path, said: Mapping[str, Any], tensors: LazyTensors, base: Mapping[str, Any]) -> Stage:
    """said: sizes by Suno's or Hugging Face's names. Raises ConversionError if it is not a transformer of Bark."""
    measured = measure(tensors)
    if not {"num_layers", "hidden_size", "block_size", "input_vocab_size", "output_vocab_size"} <= measured.keys():
        raise ConversionError(f"{path} holds no network of Bark: give one of {', '.join(TRANSFORMERS)}")
    sizes = measured | {key: value for key, value in flat_section(said).items() if value is not None}
    if "num_heads" not in sizes:
        sizes["num_heads"] = _heads(path, sizes["hidden_size"], base)
    return Stage(path=path, network=_looks_like(sizes), sizes=sizes, tensors=tensors)


def _heads(path: Path, width: Any, base: Mapping[str, Any]) -> int:
    """The number of heads, which no tensor shows."""
    if base.get("hidden_size") == width:
        return int(base["num_heads"])
    if type(width) is int and width % _HEAD_WIDTH == 0:
        return width // _HEAD_WIDTH
    raise ConversionError(
        f'{path} says nowhere how many heads it has: put a config.json with "num_heads" beside the weights'
    )


def _looks_like(sizes: Mapping[str, Any]) -> str:
    if "n_codes_total" in sizes:
        return "fine"
    return "coarse" if sizes["input_vocab_size"] == sizes["output_vocab_size"] else "semantic"


def measure(tensors: LazyTensors) -> dict[str, Any]:
    """The sizes, by Hugging Face's names, that the tensors of a transformer show."""
    table = [*transformer_rows(None), *transformer_rows(_MOST_CODEBOOKS)]
    sizes: dict[str, Any] = {}
    layers, codebooks, bias = 0, 0, False
    for name, tensor in tensors.items():
        if not (found := first_match(name, table)) or not tensor.shape:
            continue
        row, target = found
        if target == "position_embedding" and len(tensor.shape) == 2:
            sizes["block_size"], sizes["hidden_size"] = tensor.shape
        elif target == "token_embedding":
            sizes["input_vocab_size"] = tensor.shape[0]
        elif target == "head.weight":
            sizes["output_vocab_size"] = tensor.shape[0]
        elif target == "code_embeddings":
            codebooks = max(codebooks, int(row.part) + 1)
            sizes["input_vocab_size"] = sizes["output_vocab_size"] = tensor.shape[0]
        elif target.startswith("blocks."):
            layers = max(layers, int(target.split(".")[1]) + 1)
            bias = bias or target.endswith("qkv_projection.bias")
    sizes |= {"num_layers": layers, "bias": bias} if layers else {}
    return sizes | ({"n_codes_total": codebooks} if codebooks else {})


def _read(path: Path, network: str) -> tuple[Mapping[str, Any], LazyTensors]:
    """What is said about the sizes, and the tensors, of the network asked for if there are several."""
    if path.is_dir():
        if is_checkpoint(path):
            raise ConversionError(f"{path} is converted already: copy its {network}.safetensors over the model's own")
        said, tensors = _read_weights(path, _weights(path, network))
    elif path.is_file():
        said, tensors = _read_weights(path.parent, path)
    else:
        raise ConversionError(f"there is no file or folder {path}")
    prefix = PREFIXES[network]
    ours = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return (said.get(SECTIONS[network]) or said, ours) if ours else (said, tensors)


def _weights(folder: Path, network: str) -> Path:
    """The file of weights in a folder. Raises ConversionError if there is none, or no telling which."""
    names = [*STAGE_FILES[network], *HUGGINGFACE_WEIGHTS]
    if found := next((folder / name for name in names if (folder / name).is_file()), None):
        return found
    if (folder / "adapter_config.json").is_file():
        raise ConversionError(f"{folder}: {explain_missing(folder)}")
    others = [file for pattern in _WEIGHTS for file in sorted(folder.glob(pattern)) if file.name not in _OF_TRAINERS]
    if len(others) == 1:
        return others[0]
    raise ConversionError(f"{folder} holds {_instead_of_one(folder, others, network)}")


def _in_order(path: Path) -> tuple[int, str]:
    """checkpoint-100 after checkpoint-50."""
    return len(path.name), path.name


def _instead_of_one(folder: Path, weights: list[Path], network: str) -> str:
    """What a folder without one file of weights holds, and what to name instead."""
    if weights:
        return f"several files of weights, none of a usual name: name one, --{network} {weights[0]}"
    steps = sorted((path for path in folder.glob("checkpoint-*") if path.is_dir()), key=_in_order)
    if steps:
        named = ", ".join(path.name for path in steps)
        return f"no file of weights, but the folders {shorten(named)}: name one, --{network} {steps[-1]}"
    return f"no file of weights: name the file or its folder, --{network} FILE"


def _read_weights(folder: Path, weights: Path) -> tuple[Mapping[str, Any], LazyTensors]:
    """What is said about the sizes, in the file itself or in config.json beside it, and all tensors."""
    said = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if weights.suffix in (".json", ".safetensors"):
        return said, read_tensors(weights)
    arguments, tensors = read_model_file(weights)
    return dict(said) | arguments, tensors
