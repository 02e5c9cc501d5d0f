"""HuBERT and quantisers with random weights, in the files that their users have."""

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import HubertConfig as TheirConfig
from transformers import HubertModel

TINY = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
    "conv_dim": [24] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip


def save_hubert(folder: Path, *, safetensors: bool = False, **sizes: Any) -> HubertModel:
    """Write config.json and the weights, of which the norms and biases are random too; the model."""
    torch.manual_seed(0)
    model = HubertModel(TheirConfig(**sizes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "norm" in name:
                parameter.normal_(1, 0.1)
    if safetensors:
        model.save_pretrained(folder)
        return model
    folder.mkdir(parents=True)
    state = model.state_dict()
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, name in old.items():
        state[f"encoder.pos_conv_embed.conv.{name}"] = state.pop(f"encoder.pos_conv_embed.conv.{new}")
    torch.save(state, folder / "pytorch_model.bin")
    model.config.save_pretrained(folder)
    return model


class PlainQuantizer(nn.Module):
    """The quantiser as PyTorch states it."""

    def __init__(self, inputs: int, width: int, vocab: int, version: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, width, 2, batch_first=True)
        self.intermediate = nn.Linear(width, 4096) if version == 1 else None
        self.fc = nn.Linear(4096 if version == 1 else width, vocab)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features [T, C] → logits [T, V]."""
        x, _ = self.lstm(features)
        return self.fc(x if self.intermediate is None else self.intermediate(x))


def save_quantizer(
    path: Path, *, inputs: int, width: int, vocab: int, version: int, info: bool = True
) -> PlainQuantizer:
    """Write the file, with its member `.info` unless it is of version 0 and old; the model."""
    torch.manual_seed(1)
    model = PlainQuantizer(inputs, width, vocab, version).eval()
    torch.save(model.state_dict(), path)
    if info:
        add_info(path, {"input_size": inputs, "hidden_size": width, "output_size": vocab, "version": version})
    return model


def add_info(path: Path, values: Any) -> None:
    """Put sizes, or anything else, into the member `.info`."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/.info", json.dumps(values))
