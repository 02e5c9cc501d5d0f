"""Tiny checkpoints in PyTorch's formats, with random weights."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BarkConfig as TorchBarkConfig
from transformers import BarkModel
from transformers import EncodecConfig as TorchEncodecConfig
from transformers.initialization import no_init_weights

from bark_jax.config import BarkConfig, FineGPTConfig, GPTConfig
from bark_jax.text import builtin_tokenizer

State = dict[str, torch.Tensor]
Save = Callable[[State, Path], None]


def random_model(config: BarkConfig, std: float = 0.02) -> BarkModel:
    """A BarkModel of these sizes. Codebooks and biases too are random, so that nothing is right by chance."""
    with no_init_weights():
        model = BarkModel(torch_config(config)).eval()
    generator = torch.Generator().manual_seed(0)
    tensors = dict(model.named_parameters()) | {k: v for k, v in model.named_buffers() if k.endswith("codebook.embed")}
    for name, tensor in tensors.items():
        centre = 1.0 if re.search(r"layernorm\S*weight|original0", name) else 0.0
        tensor.data.normal_(centre, std, generator=generator)
    for name, mask in model.named_buffers():
        if name.endswith("attn.bias"):
            mask.copy_(torch.ones_like(mask).tril())
    model.fine_acoustics.tie_weights()
    return model


def torch_config(config: BarkConfig) -> TorchBarkConfig:
    codec = config.codec
    return TorchBarkConfig(
        semantic_config=_sizes(config.semantic.gpt),
        coarse_acoustics_config=_sizes(config.coarse.gpt),
        fine_acoustics_config=_sizes(config.fine.gpt),
        codec_config=TorchEncodecConfig(
            num_filters=codec.filters, hidden_size=codec.width, codebook_size=codec.codebook_size
        ),
    )


def _sizes(gpt: GPTConfig | FineGPTConfig) -> dict[str, Any]:
    sizes = {
        "num_layers": gpt.layers, "num_heads": gpt.heads, "hidden_size": gpt.width, "block_size": gpt.block_size,
        "bias": gpt.bias,
    }  # fmt: skip
    if isinstance(gpt, GPTConfig):
        return sizes | {"input_vocab_size": gpt.input_vocab, "output_vocab_size": gpt.output_vocab}
    return sizes | {"input_vocab_size": gpt.vocab, "output_vocab_size": gpt.vocab, "n_codes_total": gpt.codebooks}


def write_huggingface(folder: Path, state: State, config: BarkConfig, save: Save) -> Path:
    """Hugging Face's layout; `save` writes the weights."""
    folder.mkdir(parents=True)
    torch_config(config).to_json_file(folder / "config.json", use_diff=False)
    (folder / "generation_config.json").write_text(json.dumps(generation_config(config)))
    builtin_tokenizer().save(str(folder / "tokenizer.json"))
    save(state, folder)
    return folder


def generation_config(config: BarkConfig) -> dict[str, Any]:
    semantic, coarse, fine = config.semantic, config.coarse, config.fine
    return {
        "sample_rate": config.codec.sample_rate,
        "codebook_size": config.codec.codebook_size,
        "semantic_config": {
            "semantic_vocab_size": semantic.vocab, "eos_token_id": semantic.pad, "semantic_pad_token": semantic.pad,
            "text_encoding_offset": semantic.text_offset, "text_pad_token": semantic.text_pad,
            "semantic_infer_token": semantic.infer, "temperature": semantic.temperature, "top_k": 50,
        },
        "coarse_acoustics_config": {
            "coarse_semantic_pad_token": coarse.semantic_pad, "coarse_infer_token": coarse.infer, "coarse_rate_hz": 75,
            "temperature": coarse.temperature,
        },
        "fine_acoustics_config": {"temperature": fine.temperature, "max_fine_history_length": fine.hop},
    }  # fmt: skip


def save_bin(state: State, folder: Path) -> None:
    torch.save(state, folder / "pytorch_model.bin")


def save_safetensors(state: State, folder: Path) -> None:
    save_file({name: tensor.clone() for name, tensor in state.items()}, folder / "model.safetensors")


def save_sharded_bin(state: State, folder: Path) -> None:
    _save_sharded(state, folder, "pytorch_model-0000{}-of-00002.bin", "pytorch_model.bin.index.json", torch.save)


def save_sharded_safetensors(state: State, folder: Path) -> None:
    copies = {name: tensor.clone() for name, tensor in state.items()}
    _save_sharded(copies, folder, "model-0000{}-of-00002.safetensors", "model.safetensors.index.json", save_file)


def _save_sharded(state: State, folder: Path, pattern: str, index: str, save: Callable[[State, Path], None]) -> None:
    names = sorted(state)
    shards = {pattern.format(1): names[::2], pattern.format(2): names[1::2]}
    for file, members in shards.items():
        save({name: state[name] for name in members}, folder / file)
    weight_map = {name: file for file, members in shards.items() for name in members}
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def old_norm_names(state: State) -> State:
    """Weight normalisation as it was named before torch 2."""
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    return {re.sub("|".join(old), lambda m: old[m[0]], name): tensor for name, tensor in state.items()}


def write_suno(folder: Path, state: State, config: BarkConfig, suffix: str) -> Path:
    """Suno's layout, `suffix` "" for the small and "_2" for the large files."""
    stages = {
        "text": ("semantic.", config.semantic.gpt), "coarse": ("coarse_acoustics.", config.coarse.gpt),
        "fine": ("fine_acoustics.", config.fine.gpt),
    }  # fmt: skip
    for stage, (prefix, gpt) in stages.items():
        model = {_suno_name(name.removeprefix(prefix)): t for name, t in state.items() if name.startswith(prefix)}
        content = {"model": model, "model_args": _model_args(gpt), "best_val_loss": np.float64(2.5), "iter_num": 7}
        torch.save(content | {"optimizer": _adam(model)}, folder / f"{stage}{suffix}.pt")
    torch.save(encodec_state(state), folder / "encodec_24khz-d7cc33bc.th")
    builtin_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _suno_name(name: str) -> str:
    names = {
        r"^layers\.": "transformer.h.", r"^input_embeds_layer\.": "transformer.wte.",
        r"^input_embeds_layers\.": "transformer.wtes.", r"^position_embeds_layer\.": "transformer.wpe.",
        r"^layernorm_final\.": "transformer.ln_f.", r"\.layernorm_": ".ln_", r"\.att_proj": ".c_attn",
        r"attn\.out_proj": "attn.c_proj", r"mlp\.in_proj": "mlp.c_fc", r"mlp\.out_proj": "mlp.c_proj",
    }  # fmt: skip
    for pattern, suno in names.items():
        name = re.sub(pattern, suno, name)
    return f"_orig_mod.{name}"


def _model_args(gpt: GPTConfig | FineGPTConfig) -> dict[str, Any]:
    arguments = {
        "n_layer": gpt.layers, "n_head": gpt.heads, "n_embd": gpt.width, "block_size": gpt.block_size,
        "bias": gpt.bias, "dropout": 0.0,
    }  # fmt: skip
    if isinstance(gpt, FineGPTConfig):
        return arguments | {"vocab_size": gpt.vocab, "n_codes_total": gpt.codebooks, "n_codes_given": 1}
    return arguments | {"input_vocab_size": gpt.input_vocab, "output_vocab_size": gpt.output_vocab}


def _adam(model: State) -> dict[str, Any]:
    moments = ("exp_avg", "exp_avg_sq")
    state = {
        i: {"step": torch.tensor(3.0)} | {moment: torch.full_like(tensor, torch.nan) for moment in moments}
        for i, tensor in enumerate(t for t in model.values() if t.is_floating_point())
    }
    return {"state": state, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.95)}]}


def encodec_state(state: State) -> State:
    """EnCodec's own names."""
    encodec = {}
    for name, tensor in old_norm_names(state).items():
        if name.startswith("codec_model."):
            name = re.sub(r"^(encoder|decoder)\.layers", r"\1.model", name.removeprefix("codec_model."))
            transposed = re.match(r"decoder\.model\.(3|6|9|12)\.conv\.", name)
            name = name.replace(".conv.", ".convtr.convtr." if transposed else ".conv.conv.")
            encodec[name.replace("quantizer.layers", "quantizer.vq.layers").replace(".codebook.", "._codebook.")] = (
                tensor
            )
    return encodec
