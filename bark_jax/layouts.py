"""The files of a source of Bark, in each layout: the one table that download, cache and conversion read."""

import os
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from bark_jax.config import NETWORKS

NANO = "nano"  # the model that this package brings

SETTINGS = ("config.json", "generation_config.json", "tokenizer*.json", "vocab.txt", "speaker_embeddings*", "voices/*")
SEMANTIC_CLUSTERS = "semantic_tokens.npz"  # beside the weights of a model that was trained here
_VOICES = ("speaker_embeddings", "assets/prompts")  # folders

TRANSFORMERS = NETWORKS[:3]  # each may be fine-tuned, and come, by itself
PREFIXES = {"semantic": "semantic.", "coarse": "coarse_acoustics.", "fine": "fine_acoustics.", "codec": "codec_model."}
HUGGINGFACE_WEIGHTS = (  # the first that is there counts
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
SIZES = ("small", "large")  # of Suno's models
_SUNO_FILES = {"semantic": "text", "coarse": "coarse", "fine": "fine"}
_SUNO_SUFFIXES = {"large": "_2.pt", "small": ".pt"}  # preferred first
STAGE_FILES = {  # of Suno's models, preferred first
    network: tuple(stem + suffix for suffix in _SUNO_SUFFIXES.values()) for network, stem in _SUNO_FILES.items()
}
ENCODEC = "encodec_24khz-d7cc33bc.th"
TOKENIZER_REPOSITORY = "google-bert/bert-base-multilingual-cased"
ENCODEC_URL = f"https://dl.fbaipublicfiles.com/encodec/v0/{ENCODEC}"

_WEIGHTS = (  # best first; one is enough, but `suno/bark` holds its weights in several layouts
    tuple(f"{name}.safetensors" for name in NETWORKS),
    ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"),
    ("text*.pt", "coarse*.pt", "fine*.pt", "encodec*.th"),
)
EXPECTED = (
    "config.json with model.safetensors or pytorch_model.bin (or their shards), "
    "or Suno's text.pt, coarse.pt and fine.pt (or text_2.pt, …)"
)
GGML_REMEDY = "convert the files that it was made from instead (suno/bark, suno/bark-small), or name one of those"
_WEIGHT_FILES = ("*.pt", "*.pth", "*.ckpt", "*.bin", "*.safetensors")


def over_a_model(path: object, network: str) -> str:
    """How one network by itself is used."""
    return f"put it over a whole model: bark-jax convert suno/bark-small OUT --{network} {path}"


def explain_missing(path: Path) -> str:
    """Why nothing can be loaded from a file, or from a folder without weights in one of the layouts."""
    names = sorted(file.name for file in path.glob("*")) if path.is_dir() else [path.name]
    if ggml := next((name for name in names if fnmatch(name, "ggml*.bin") or name.endswith(".gguf")), None):
        return f"{ggml} is in ggml's format, of bark.cpp: {GGML_REMEDY}"
    if "adapter_config.json" in names:
        return "it is a LoRA adapter: merge it into its model first (peft: `model = model.merge_and_unload()`)"
    single = next((name for name in names if any(fnmatch(name, pattern) for pattern in _WEIGHT_FILES)), None)
    hint = f"; if {single} is one network by itself, {over_a_model(single, 'semantic')} (or --coarse, --fine)"
    return f"expected {EXPECTED}{hint if single else ''}"


def weight_patterns(names: Iterable[str]) -> tuple[str, ...]:
    """The patterns of the best layout found among these files, none if there are no weights."""
    names = list(names)
    for patterns in _WEIGHTS:
        if any(fnmatch(name, pattern) for name in names for pattern in patterns):
            return patterns
    return ()


def has_weights(folder: Path) -> bool:
    """Whether a folder holds weights in one of the layouts; one that is not there holds none."""
    return bool(weight_patterns(file.name for file in folder.glob("*")))


def inputs(folder: Path) -> Iterator[Path]:
    """Every file that a conversion of the folder reads."""
    patterns = [*SETTINGS, *(pattern for layout in _WEIGHTS for pattern in layout)]
    found = [file for file in folder.iterdir() if any(fnmatch(file.name, pattern) for pattern in patterns)]
    found += [file for voices in _VOICES for file in (folder / voices).rglob("*")]
    if any(folder.glob("text*.pt")):  # Suno's layout
        found += torch_checkpoints().glob("encodec*.th")
    return (file for file in found if file.is_file())


def suno_files(folder: Path, size: str) -> dict[str, Path]:
    """Network → file of Suno's model of a size, one of SIZES; EnCodec's is elsewhere."""
    return {network: folder / f"{stem}{_SUNO_SUFFIXES[size]}" for network, stem in _SUNO_FILES.items()}


def suno_names(size: str) -> list[str]:
    """The names of all files of Suno's model of a size, one of SIZES."""
    return [*(path.name for path in suno_files(Path(), size).values()), ENCODEC]


def suno_sizes() -> tuple[str, ...]:
    """SIZES, preferred first."""
    return tuple(_SUNO_SUFFIXES)


def torch_checkpoints() -> Path:
    """Where torch.hub keeps what it downloads, and so Suno's code EnCodec's weights."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("TORCH_HOME") or Path(cache, "torch"), "hub", "checkpoints")
