"""Which tensor of a source goes where: one table per network, for Suno's and Hugging Face's names alike.

A row names a source tensor in both layouts and its place in the checkpoint, so the table serves conversion and export.
Each source tensor is used by one row or left out by a named rule, each target is filled once. "{}" in names stands for
the number of a layer.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from bark_jax.config import BarkConfig, EncodecConfig

from .combine import Combine, conv_kernel, lstm_bias, single, stack, subpixel_kernel

# Beside the weights in what torch's AveragedModel and other averages of weights, and training scripts, save.
COUNTERS = ("n_averaged", "num_updates", "step", "global_step", "iter", "iteration", "epoch")

# Tensors that no network needs, by what they are. Rows come first: the codebooks here are those no row claims.
LEFT_OUT = {
    "counters of training": "|".join(COUNTERS),
    "attention masks": r"(?:transformer\.h|layers)\.\d+\.attn\.bias",
    "codebook training statistics": r"quantizer\.(?:vq\.)?layers\.\d+\._?codebook\.(?:inited|cluster_size|embed_avg)",
    "codebooks that Bark does not use": r"quantizer\.(?:vq\.)?layers\.\d+\._?codebook\.embed",
}


class Row(NamedTuple):
    """The tensor of these names is the `part` of `target` that `combine` needs."""

    target: str
    huggingface: str
    suno: str
    part: str = ""
    combine: Combine = single
    others: tuple[str, ...] = ()  # names of the same tensor that are read too
    tied: bool = False  # several matching tensors are fine if they are equal

    def match(self, name: str) -> str | None:
        """The target of a source tensor, None if the row is not about it."""
        for known in (self.huggingface, self.suno, *self.others):
            if found := _pattern(known).fullmatch(name):
                return self.target.replace("{}", found[1]) if "{}" in self.target else self.target
        return None

    def number(self, target: str) -> str | None:
        """What "{}" stands for in a target of the row, "" if nothing; None if the row is not about it."""
        found = _pattern(self.target).fullmatch(target)
        return "".join(found.groups()) if found else None


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\{\}", r"(\d+)"))


def rows(network: str, config: BarkConfig) -> list[Row]:
    """The table of one network."""
    if network == "codec":
        return list(_codec_rows(config.codec))
    return transformer_rows(config.fine.gpt.codebooks if network == "fine" else None)


def transformer_rows(codebooks: int | None) -> list[Row]:
    """The table of a causal transformer, or of the fine one with that many codebooks."""
    return [*_TRANSFORMER, *(_CAUSAL if codebooks is None else _fine_rows(codebooks))]


def _block_rows() -> Iterator[Row]:
    for kind in ("weight", "bias"):
        scale = "scale" if kind == "weight" else kind
        for target, huggingface, suno in (
            (f"attention_norm.{scale}", "layernorm_1", "ln_1"),
            (f"qkv_projection.{kind}", "attn.att_proj", "attn.c_attn"),
            (f"attention_out.{kind}", "attn.out_proj", "attn.c_proj"),
            (f"mlp_norm.{scale}", "layernorm_2", "ln_2"),
            (f"mlp_in.{kind}", "mlp.in_proj", "mlp.c_fc"),
            (f"mlp_out.{kind}", "mlp.out_proj", "mlp.c_proj"),
        ):
            yield Row(f"blocks.{{}}.{target}", f"layers.{{}}.{huggingface}.{kind}", f"transformer.h.{{}}.{suno}.{kind}")


_TRANSFORMER = [
    Row("position_embedding", "position_embeds_layer.weight", "transformer.wpe.weight"),
    *_block_rows(),
    Row("norm.scale", "layernorm_final.weight", "transformer.ln_f.weight"),
    Row("norm.bias", "layernorm_final.bias", "transformer.ln_f.bias"),
]
_CAUSAL = [
    Row("token_embedding", "input_embeds_layer.weight", "transformer.wte.weight"),
    Row("head.weight", "lm_head.weight", "lm_head.weight", others=("lm_head.0.weight",)),
]


def first_match(name: str, table: list[Row]) -> tuple[Row, str] | None:
    """The row about a source tensor, and its target."""
    for row in table:
        if (target := row.match(name)) is not None:
            return row, target
    return None


def _fine_rows(codebooks: int) -> Iterator[Row]:
    """Head i is tied to table i + 1; a file may hold both names or either."""
    for k in range(codebooks):
        yield Row(
            "code_embeddings", f"input_embeds_layers.{k}.weight", f"transformer.wtes.{k}.weight", f"{k}", stack,
            others=(f"lm_heads.{k - 1}.weight", f"lm_heads.{k - 1}.0.weight"), tied=True,
        )  # fmt: skip


def _codec_rows(config: EncodecConfig) -> Iterator[Row]:
    """EnCodec numbers its layers through, activations (which hold nothing) included."""
    stages = len(config.ratios)
    for side, lstm, first_stage in (("encoder", 3 * stages + 1, 1), ("decoder", 1, 4)):
        yield from _conv_rows(side, "0", f"{side}.conv_in")
        yield from _lstm_rows(side, lstm)
        for i in range(stages):
            source, target = first_stage + 3 * i, f"{side}.stages.{i}"
            yield from _conv_rows(side, f"{source}.block.1", f"{target}.residual.conv_in")
            yield from _conv_rows(side, f"{source}.block.3", f"{target}.residual.conv_out")
            yield from _conv_rows(side, f"{source}.shortcut", f"{target}.residual.shortcut")
        yield from _conv_rows(side, f"{3 * stages + 3}", f"{side}.conv_out")
    for i in range(stages):
        yield from _conv_rows("encoder", f"{3 * i + 3}", f"encoder.stages.{i}.downsample")
        yield from _conv_rows("decoder", f"{3 * i + 3}", f"decoder.stages.{i}.upsample", subpixel_kernel)
    for k in range(config.codebooks):
        embed = ("quantizer.layers.{}.codebook.embed", "quantizer.vq.layers.{}._codebook.embed")
        huggingface, suno = (name.format(k) for name in embed)
        yield Row("quantizer.codebooks", huggingface, suno, f"{k}", stack)


def _conv_rows(side: str, layer: str, target: str, kernel: Combine = conv_kernel) -> Iterator[Row]:
    huggingface = f"{side}.layers.{layer}.conv."
    suno = f"{side}.model.{layer}." + ("convtr.convtr." if kernel is subpixel_kernel else "conv.conv.")
    g, v = "parametrizations.weight.original0", "parametrizations.weight.original1"  # weight norm; older: weight_g, …_v
    yield Row(f"{target}.bias", huggingface + "bias", suno + "bias")
    for part, new, old in (("weight", "weight", "weight"), ("g", g, "weight_g"), ("v", v, "weight_v")):
        others = (huggingface + old, suno + new)
        yield Row(f"{target}.kernel", huggingface + new, suno + old, part, kernel, others)  # "weight": norm folded


def _lstm_rows(side: str, layer: int) -> Iterator[Row]:
    for name, target, part in (
        ("weight_ih_l{}", "input_weight", ""), ("weight_hh_l{}", "hidden_weight", ""),
        ("bias_ih_l{}", "bias", "ih"), ("bias_hh_l{}", "bias", "hh"),
    ):  # fmt: skip
        yield Row(
            f"{side}.lstm.layers.{{}}.{target}", f"{side}.layers.{layer}.lstm.{name}",
            f"{side}.model.{layer}.lstm.{name}", part, lstm_bias if part else single,
        )  # fmt: skip
