"""A checkpoint of this project's → a folder in Hugging Face's or Suno's layout: the conversion the other way round.

The same table of rows gives the names. Converted again, the folder is bit for bit what was exported.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax.checkpoint.writing import synced, whole_or_nothing, write_safetensors
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.layouts import ENCODEC, PREFIXES, suno_files
from bark_jax.voices.tokens import PROMPTS
from bark_jax.voices.voice import Voice

from .combine import split, subpixel_kernel
from .errors import ConversionError
from .export_configs import check_huggingface, check_suno, huggingface_configs, suno_arguments, suno_size
from .rules import Row, rows

Networks = Mapping[str, Mapping[str, Any]]
"""For each of NETWORKS the parameters by dotted path: arrays of NumPy's or of JAX's, float32 or bfloat16."""

Voices = Iterable[tuple[str, Voice]]

_ROOM = 2**26  # bytes for voices, tokenizer and configuration
_ENCODEC_CODEBOOKS = 32
_TOKENIZER_CONFIG = {
    "tokenizer_class": "BertTokenizer", "processor_class": "BarkProcessor", "do_lower_case": False,
    "strip_accents": None, "tokenize_chinese_chars": True, "model_max_length": 512, "unk_token": "[UNK]",
    "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor of the folder to be written, which is made when it is its turn."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]


def export_checkpoint(
    folder: Path, layout: str, config: BarkConfig, networks: Networks, *, tokenizer_json: str, voices: Voices = ()
) -> None:
    """Write a folder, which appears only when it is complete, in the layout "huggingface" or "suno".

    Suno's is of `.pt` files, which only PyTorch writes. Raises ConversionError for a model that the layout has no words
    for, and for another layout, and CheckpointError when the folder cannot be written.
    """
    exporters = {"huggingface": _export_huggingface, "suno": _export_suno}
    if layout not in exporters:
        raise ConversionError(f"there is no layout {layout!r}: choose from bark_jax, {', '.join(exporters)}")
    exporters[layout](folder.absolute(), config, networks, tokenizer_json, voices)


def _export_huggingface(
    folder: Path, config: BarkConfig, networks: Networks, tokenizer_json: str, voices: Voices
) -> None:
    check_huggingface(config)
    tensors = [tensor for network in NETWORKS for tensor in _huggingface_tensors(network, config, networks[network])]
    size = sum(int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize for tensor in tensors)
    with whole_or_nothing(folder, size + _ROOM) as folder:
        with synced(folder / "model.safetensors") as file:
            entries = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
            arrays = ((tensor.name, tensor.read()) for tensor in tensors)
            write_safetensors(file, entries, arrays, metadata={"format": "pt"})
        _write_huggingface_voices(folder, voices)
        _write_tokenizer(folder, tokenizer_json)
        for name, values in huggingface_configs(config).items():
            (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _huggingface_tensors(network: str, config: BarkConfig, parameters: Mapping[str, Any]) -> Iterator[Tensor]:
    prefix = PREFIXES[network]
    for row, name, array in _parts(network, config, parameters):
        if row.tied and name != row.huggingface:
            continue
        yield _stored(prefix + name, array)
        if name.endswith("codebook.embed"):
            yield from _codebook_statistics(prefix + name.removesuffix("embed"), array)
    if network in ("semantic", "coarse"):
        gpt = getattr(config, network).gpt
        mask = np.tril(np.ones((1, 1, gpt.block_size, gpt.block_size), np.bool))
        for layer in range(gpt.layers):
            yield Tensor(f"{prefix}layers.{layer}.attn.bias", "bool", mask.shape, lambda: mask)


def _stored(name: str, array: Any) -> Tensor:
    """An array as it is, copied to the host when it is written."""
    return Tensor(name, str(array.dtype), tuple(array.shape), partial(np.asarray, array))


def _codebook_statistics(prefix: str, embed: Any) -> Iterator[Tensor]:
    """What EnCodec's training keeps beside a codebook, as after its start."""
    values = {"inited": np.ones(1, np.float32), "cluster_size": np.zeros(len(embed), np.float32), "embed_avg": embed}
    for name, array in values.items():
        yield _stored(prefix + name, array)


def _parts(
    network: str, config: BarkConfig, parameters: Mapping[str, Any], *, suno: bool = False
) -> Iterator[tuple[Row, str, Any]]:
    """Row, name and array of every tensor that the parameters become."""
    table = rows(network, config)
    for target, array in parameters.items():
        mine = [(row, number) for row in table if (number := row.number(target)) is not None]
        ratio = config.codec.ratios[int(target.split(".")[2])] if mine[0][0].combine is subpixel_kernel else 1
        parts = split(mine[0][0].combine, array, ratio)
        for row, number in mine:
            if row.part in parts:
                yield row, (row.suno if suno else row.huggingface).replace("{}", number), parts[row.part]


def _export_suno(folder: Path, config: BarkConfig, networks: Networks, tokenizer_json: str, voices: Voices) -> None:
    try:
        import torch
    except ImportError as error:
        raise ConversionError('only PyTorch writes Suno\'s .pt files: install torch, or use "huggingface"') from error
    check_suno(config)
    size = sum(4 * int(np.prod(array.shape)) for network in NETWORKS for array in networks[network].values())
    with whole_or_nothing(folder, size + _ROOM) as folder:
        for network, path in suno_files(folder, suno_size(config)).items():
            content = {
                "model": _suno_state(network, config, networks[network]),
                "model_args": suno_arguments(config, network),
                "best_val_loss": torch.tensor(float("nan")),  # not known; Suno's code asks for it
            }
            torch.save(content, path)
        torch.save(_encodec_state(config, networks["codec"]), folder / ENCODEC)
        for name, voice in voices:
            voice.save(_voice_path(folder, "assets/prompts", f"{name}.npz"))
        _write_tokenizer(folder, tokenizer_json)


def _suno_state(network: str, config: BarkConfig, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict; the fine network's heads are its tables once more, in the same memory."""
    import torch

    state = {}
    for row, name, array in _parts(network, config, parameters, suno=True):
        tensor = torch.from_numpy(np.array(array, np.float64 if array.dtype == np.float64 else np.float32))
        state[name] = tensor
        if row.tied and row.part != "0":
            state[f"lm_heads.{int(row.part) - 1}.weight"] = tensor
    return state


def _encodec_state(config: BarkConfig, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """As EnCodec's own file, which has more codebooks than Bark uses: those are zeros."""
    import torch

    state = _suno_state("codec", config, parameters)
    unused = torch.zeros(config.codec.codebook_size, config.codec.width)
    for index in range(_ENCODEC_CODEBOOKS):
        prefix = f"quantizer.vq.layers.{index}._codebook."
        embed = state.setdefault(f"{prefix}embed", unused)
        for tensor in _codebook_statistics(prefix, embed.numpy()):
            state[tensor.name] = torch.from_numpy(np.array(tensor.read()))
    return state


def _write_huggingface_voices(folder: Path, voices: Voices) -> None:
    index: dict[str, Any] = {}
    for name, voice in voices:
        index[name] = {}
        for prompt in PROMPTS:
            relative = f"speaker_embeddings/{name}_{prompt}.npy"
            np.save(_voice_path(folder, relative), getattr(voice, prompt.removesuffix("_prompt")))
            index[name][prompt] = relative
    if index:
        text = json.dumps({"repo_or_path": "."} | index, indent=2)
        (folder / "speaker_embeddings_path.json").write_text(text, encoding="utf-8")


def _voice_path(folder: Path, *names: str) -> Path:
    path = folder.joinpath(*names)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_tokenizer(folder: Path, tokenizer_json: str) -> None:
    (folder / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    model = json.loads(tokenizer_json)["model"]
    if model.get("type") == "WordPiece":  # the published kind
        words = sorted(model["vocab"], key=model["vocab"].__getitem__)
        (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(_TOKENIZER_CONFIG, indent=2), encoding="utf-8")
