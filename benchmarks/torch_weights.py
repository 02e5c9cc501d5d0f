"""How do PyTorch's models get our weights? As views of the same memory, wherever layouts agree."""

import re
from collections.abc import Callable
from typing import Any

import torch
from flax import nnx
from torch import Tensor, nn
from transformers import BarkConfig as TorchBarkConfig
from transformers import BarkModel, EncodecConfig, EncodecModel
from transformers.initialization import no_init_weights

from bark_jax import Bark
from bark_jax.config import BarkConfig, FineGPTConfig, GPTConfig
from bark_jax.config import EncodecConfig as CodecConfig

# Our dotted paths → transformers' names
_NAMES = (
    (r"^token_embedding$", "input_embeds_layer.weight"),
    (r"^position_embedding$", "position_embeds_layer.weight"),
    (r"^head\.", "lm_head."),
    (r"^norm\.", "layernorm_final."),
    (r"^blocks\.", "layers."),
    (r"\.attention_norm", ".layernorm_1"),
    (r"\.mlp_norm", ".layernorm_2"),
    (r"\.qkv_projection", ".attn.att_proj"),
    (r"\.attention_out", ".attn.out_proj"),
    (r"\.mlp_(in|out)", r".mlp.\1_proj"),
    (r"\.scale$", ".weight"),
)


def parameters(network: nnx.Module) -> dict[str, Tensor]:
    """Dotted path → parameter of one of our networks, on its device and not copied."""
    leaves = nnx.to_flat_state(nnx.state(network))
    return {".".join(map(str, path)): torch.from_dlpack(leaf.get_value()) for path, leaf in leaves}


def share(build: Callable[[], nn.Module], network: nnx.Module) -> Any:
    """The module that `build` makes, whose parameters have our paths, with our network's parameters."""
    with torch.device("meta"):
        module = build()
    state = {path.replace(".scale", ".weight"): tensor for path, tensor in parameters(network).items()}
    module.load_state_dict(state, assign=True)
    return module.requires_grad_(False).eval()


def huggingface_bark(bark: Bark, attention: str) -> BarkModel:
    """transformers' model with our dtype and parameters. Raises ValueError or ImportError for `attention`."""
    position = parameters(bark.fine)["position_embedding"]
    with no_init_weights(), torch.device(position.device):
        model = BarkModel._from_config(bark_config(bark.config), attn_implementation=attention, dtype=position.dtype)
    for stage, part in (("semantic", "semantic"), ("coarse", "coarse_acoustics"), ("fine", "fine_acoustics")):
        state = _huggingface_state(parameters(getattr(bark, stage)))
        missing, unknown = getattr(model, part).load_state_dict(state, strict=False, assign=True)
        wrong = [*unknown, *(name for name in missing if not name.endswith("attn.bias"))]  # that one is the causal mask
        if wrong:
            raise RuntimeError(f"{part}: {', '.join(wrong)} do not fit the model")
    _fill_decoder(model.codec_model, parameters(bark.codec))
    return model.requires_grad_(False).eval()


def encodec(bark: Bark) -> EncodecModel:
    """transformers' codec in float32 with our decoder's weights; nothing here encodes, so its encoder stays empty."""
    weights = parameters(bark.codec)
    with no_init_weights(), torch.device(weights["quantizer.codebooks"].device):
        model = EncodecModel(_encodec_config(bark.config.codec)).eval()
    _fill_decoder(model, weights)
    return model.requires_grad_(False)


def _huggingface_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    tables = weights.pop("code_embeddings", ())
    state = {f"input_embeds_layers.{k}.weight": table for k, table in enumerate(tables)}
    state |= {f"lm_heads.{k - 1}.weight": table for k, table in enumerate(tables) if k}
    for path, tensor in weights.items():
        for pattern, name in _NAMES:
            path = re.sub(pattern, name, path)
        state[path] = tensor
    return state


def bark_config(config: BarkConfig) -> TorchBarkConfig:
    """transformers' configuration of a model of our sizes."""
    return TorchBarkConfig(
        semantic_config=_sizes(config.semantic.gpt),
        coarse_acoustics_config=_sizes(config.coarse.gpt),
        fine_acoustics_config=_sizes(config.fine.gpt),
        codec_config=_encodec_config(config.codec),
    )


def _sizes(gpt: GPTConfig | FineGPTConfig) -> dict[str, Any]:
    if isinstance(gpt, GPTConfig):
        vocabularies = {"input_vocab_size": gpt.input_vocab, "output_vocab_size": gpt.output_vocab}
    else:
        vocabularies = {
            "input_vocab_size": gpt.vocab, "output_vocab_size": gpt.vocab, "n_codes_total": gpt.codebooks,
        }  # fmt: skip
    return vocabularies | {
        "num_layers": gpt.layers, "num_heads": gpt.heads, "hidden_size": gpt.width, "block_size": gpt.block_size,
        "bias": gpt.bias, "dropout": 0.0,
    }  # fmt: skip


def _encodec_config(codec: CodecConfig) -> EncodecConfig:
    return EncodecConfig(
        num_filters=codec.filters, hidden_size=codec.width, codebook_size=codec.codebook_size,
        upsampling_ratios=list(codec.ratios),
    )  # fmt: skip


@torch.no_grad()
def _fill_decoder(model: EncodecModel, weights: dict[str, Tensor]) -> None:
    """Copy our decoder and codebooks."""
    for layer, table in zip(model.quantizer.layers, weights["quantizer.codebooks"], strict=False):  # the rest is unused
        layer.codebook.embed.copy_(table)
    conv_in, lstm, *middle, _, conv_out = model.decoder.layers
    _fill_conv(conv_in.conv, weights, "decoder.conv_in")
    _fill_conv(conv_out.conv, weights, "decoder.conv_out")
    for index in range(lstm.lstm.num_layers):
        _fill_lstm(lstm.lstm, index, weights, f"decoder.lstm.layers.{index}")
    for index in range(len(middle) // 3):  # an activation, then these two
        upsample, residual = middle[3 * index + 1 : 3 * index + 3]
        path = f"decoder.stages.{index}"
        _fill_conv(upsample.conv, weights, f"{path}.upsample")
        _fill_conv(residual.block[1].conv, weights, f"{path}.residual.conv_in")
        _fill_conv(residual.block[3].conv, weights, f"{path}.residual.conv_out")
        _fill_conv(residual.shortcut.conv, weights, f"{path}.residual.shortcut")


def _fill_conv(conv: nn.Conv1d | nn.ConvTranspose1d, weights: dict[str, Tensor], path: str) -> None:
    """Assigning a weight-normed weight sets its norms and directions."""
    kernel = weights[f"{path}.kernel"]
    if isinstance(conv, nn.ConvTranspose1d):  # [2, I, R·O]: what the step before adds, then what this one does
        after, now = kernel.unflatten(2, (-1, conv.out_channels)).transpose(2, 3)  # [I, O, R] each
        weight = torch.cat([now, after], dim=2)
    else:
        weight = kernel.permute(2, 1, 0)  # [k, I, O] → [O, I, k]
    conv.weight = weight.to(conv.bias.dtype)
    conv.bias.copy_(weights[f"{path}.bias"])


def _fill_lstm(lstm: nn.LSTM, index: int, weights: dict[str, Tensor], path: str) -> None:
    getattr(lstm, f"weight_ih_l{index}").copy_(weights[f"{path}.input_weight"])
    getattr(lstm, f"weight_hh_l{index}").copy_(weights[f"{path}.hidden_weight"])
    getattr(lstm, f"bias_ih_l{index}").copy_(weights[f"{path}.bias"])
    getattr(lstm, f"bias_hh_l{index}").zero_()
