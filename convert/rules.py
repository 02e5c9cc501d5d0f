"""Which tensor of a source goes where: one table per network, for Suno's and Hugging Face's names alike.

A row's pattern matches a whole source name. Each source tensor is used by one row or left out by a named rule, each
target is filled once.
"""

from collections.abc import Iterator
from typing import NamedTuple

from bark_jax.config import BarkConfig, EncodecConfig

from .combine import Combine, conv_kernel, lstm_bias, single, stack, subpixel_kernel

# Tensors that no network needs, by what they are. Rows come first: the codebooks here are those no row claims.
LEFT_OUT = {
    "attention masks": r"(?:transformer\.h|layers)\.\d+\.attn\.bias",
    "codebook training statistics": r"quantizer\.(?:vq\.)?layers\.\d+\._?codebook\.(?:inited|cluster_size|embed_avg)",
    "codebooks that Bark does not use": r"quantizer\.(?:vq\.)?layers\.\d+\._?codebook\.embed",
}


class Row(NamedTuple):
    """A source tensor that matches `pattern` is the `part` of `target` (a template) that `combine` needs."""

    pattern: str
    target: str
    part: str = ""
    combine: Combine = single
    tied: bool = False  # several matching tensors are fine if they are equal


def rows(network: str, config: BarkConfig) -> list[Row]:
    """The table of one network."""
    if network == "codec":
        return list(_codec_rows(config.codec))
    return [*_TRANSFORMER, *(_fine_rows(config.fine.gpt.codebooks) if network == "fine" else _CAUSAL)]


_BLOCK = r"(?:transformer\.h|layers)\.(\d+)\."
_TRANSFORMER = [
    Row(r"(?:transformer\.wpe|position_embeds_layer)\.weight", "position_embedding"),
    Row(_BLOCK + r"(?:ln_1|layernorm_1)\.weight", r"blocks.\1.attention_norm.scale"),
    Row(_BLOCK + r"(?:ln_1|layernorm_1)\.bias", r"blocks.\1.attention_norm.bias"),
    Row(_BLOCK + r"attn\.(?:c_attn|att_proj)\.(weight|bias)", r"blocks.\1.qkv_projection.\2"),
    Row(_BLOCK + r"attn\.(?:c_proj|out_proj)\.(weight|bias)", r"blocks.\1.attention_out.\2"),
    Row(_BLOCK + r"(?:ln_2|layernorm_2)\.weight", r"blocks.\1.mlp_norm.scale"),
    Row(_BLOCK + r"(?:ln_2|layernorm_2)\.bias", r"blocks.\1.mlp_norm.bias"),
    Row(_BLOCK + r"mlp\.(?:c_fc|in_proj)\.(weight|bias)", r"blocks.\1.mlp_in.\2"),
    Row(_BLOCK + r"mlp\.(?:c_proj|out_proj)\.(weight|bias)", r"blocks.\1.mlp_out.\2"),
    Row(r"(?:transformer\.ln_f|layernorm_final)\.weight", "norm.scale"),
    Row(r"(?:transformer\.ln_f|layernorm_final)\.bias", "norm.bias"),
]
_CAUSAL = [
    Row(r"(?:transformer\.wte|input_embeds_layer)\.weight", "token_embedding"),
    Row(r"lm_head\.weight", "head.weight"),
]


def _fine_rows(codebooks: int) -> Iterator[Row]:
    """Head i is tied to table i + 1; a file may hold both names or either."""
    for k in range(codebooks):
        names = rf"(?:(?:transformer\.wtes|input_embeds_layers)\.{k}|lm_heads\.{k - 1})\.weight"
        yield Row(names, "code_embeddings", str(k), stack, tied=True)


def _codec_rows(config: EncodecConfig) -> Iterator[Row]:
    """EnCodec numbers its layers through, activations (which hold nothing) included."""
    stages = len(config.ratios)
    for side, lstm, first_stage in (("encoder", 3 * stages + 1, 1), ("decoder", 1, 4)):
        yield from _conv_rows(side, "0", f"{side}.conv_in")
        yield from _lstm_rows(side, lstm)
        for i in range(stages):
            source, target = first_stage + 3 * i, f"{side}.stages.{i}"
            yield from _conv_rows(side, rf"{source}\.block\.1", f"{target}.residual.conv_in")
            yield from _conv_rows(side, rf"{source}\.block\.3", f"{target}.residual.conv_out")
            yield from _conv_rows(side, rf"{source}\.shortcut", f"{target}.residual.shortcut")
        yield from _conv_rows(side, f"{3 * stages + 3}", f"{side}.conv_out")
    for i in range(stages):
        yield from _conv_rows("encoder", f"{3 * i + 3}", f"encoder.stages.{i}.downsample")
        yield from _conv_rows("decoder", f"{3 * i + 3}", f"decoder.stages.{i}.upsample", subpixel_kernel)
    for k in range(config.codebooks):
        embed = rf"quantizer\.(?:vq\.)?layers\.{k}\._?codebook\.embed"
        yield Row(embed, "quantizer.codebooks", str(k), stack)


def _conv_rows(side: str, layer: str, target: str, kernel: Combine = conv_kernel) -> Iterator[Row]:
    conv = rf"{side}\.(?:model|layers)\.{layer}\.(?:conv\.conv|convtr\.convtr|conv)\."
    yield Row(conv + "bias", f"{target}.bias")
    yield Row(conv + "weight", f"{target}.kernel", "weight", kernel)  # weight norm folded already
    yield Row(conv + r"(?:weight_g|parametrizations\.weight\.original0)", f"{target}.kernel", "g", kernel)
    yield Row(conv + r"(?:weight_v|parametrizations\.weight\.original1)", f"{target}.kernel", "v", kernel)


def _lstm_rows(side: str, layer: int) -> Iterator[Row]:
    lstm, target = rf"{side}\.(?:model|layers)\.{layer}\.lstm\.", rf"{side}.lstm.layers.\1"
    yield Row(lstm + r"weight_ih_l(\d+)", f"{target}.input_weight")
    yield Row(lstm + r"weight_hh_l(\d+)", f"{target}.hidden_weight")
    yield Row(lstm + r"bias_ih_l(\d+)", f"{target}.bias", "ih", lstm_bias)
    yield Row(lstm + r"bias_hh_l(\d+)", f"{target}.bias", "hh", lstm_bias)
