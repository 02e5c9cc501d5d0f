"""HuBERT of Hugging Face and the quantisers for Bark's semantic tokens → a folder of `bark_jax.hearing.layout`.

Sources: `facebook/hubert-base-ls960` (pytorch_model.bin or model.safetensors), and the `.pth` files of
github.com/gitmylo/bark-voice-cloning-HuBERT-quantizer and of those who trained others with its code: torch zips with a
JSON member `.info`; those without one are version 0. Both are read through the pickle-free reader.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from bark_jax.arrays import read_member
from bark_jax.checkpoint import read_json
from bark_jax.checkpoint.writing import synced, whole_or_nothing, write_safetensors
from bark_jax.hearing.finding import HUBERT_REPOSITORY
from bark_jax.hearing.layout import LAYER, checked, describe
from bark_jax.layouts import HUGGINGFACE_WEIGHTS
from bark_jax.models.hubert import Hubert, HubertConfig
from bark_jax.models.parameters import parameters
from bark_jax.models.semantic_quantizer import QuantizerConfig, SemanticQuantizer

from .combine import conv_kernel, lstm_bias, position_kernel, side_by_side
from .errors import ConversionError, refuse
from .plan import Plan, match_tensors
from .rules import Row
from .tensors import LazyTensors, read_model_file, read_tensors

_LEFT_OUT = {
    "what stands for masked samples in training": r"(?:hubert\.)?masked_spec_embed",
    "the head of a recogniser": r"lm_head\.(?:weight|bias)",
}
_INFO, _MOST_INFO = "/.info", 2**16
_SIZES = {  # ours → Hugging Face's
    "kernels": "conv_kernel", "strides": "conv_stride", "width": "hidden_size", "layers": "num_hidden_layers",
    "heads": "num_attention_heads", "hidden": "intermediate_size", "position_kernel": "num_conv_pos_embeddings",
    "position_groups": "num_conv_pos_embedding_groups",
}  # fmt: skip
_FIXED = {  # what else changes the computation, and the only value that is known here
    "feat_extract_norm": "group", "feat_extract_activation": "gelu", "hidden_act": "gelu", "conv_bias": False,
    "feat_proj_layer_norm": True, "do_stable_layer_norm": False, "conv_pos_batch_norm": False, "layer_norm_eps": 1e-5,
}  # fmt: skip
_FAIRSEQ = (
    "is not a checkpoint of Hugging Face; if it is fairseq's own (hubert_base_ls960.pt), take pytorch_model.bin and "
    f"config.json of {HUBERT_REPOSITORY} instead: they hold the same weights"
)


def convert_hubert(
    source: Path, out: Path, *, quantizer: Path | None = None, layer: int = LAYER, language: str | None = None
) -> None:
    """Convert a folder with HuBERT, and a quantiser's file, into a folder that appears only when it is complete.

    layer: blocks before the features that the quantiser takes. language: that it was trained on. Raises
    ConversionError with all that is wrong, and CheckpointError for an `out` that cannot be written.
    """
    config = _read_config(source)
    if not 0 <= layer <= config.layers:
        raise ConversionError(f"{source} has {config.layers} blocks: there are no features after {layer}")
    plans = {"hubert": _plan("hubert", _hubert_rows(config), Hubert, config, _hubert_tensors(source))}
    sizes = None
    if quantizer is not None:
        sizes, tensors = _read_info(quantizer), _quantizer_tensors(quantizer)
        if sizes.inputs != config.width:
            raise ConversionError(f"{quantizer} takes features of width {sizes.inputs}, {source} has {config.width}")
        plans["quantizer"] = _plan("quantizer", _quantizer_rows(), SemanticQuantizer, sizes, tensors)
    problems = [p for plan in plans.values() for p in plan.problems]
    refuse(f"{source} does not fit its configuration", problems)
    targets = [target for plan in plans.values() for target in plan.targets]
    refuse(f"{source} has weights that cannot be used", [p for target in targets for p in target.problems()])
    with whole_or_nothing(out.absolute(), sum(target.bytes for target in targets)) as partial:
        for name, plan in plans.items():
            with synced(partial / f"{name}.safetensors") as file:
                entries = {target.path: ("float32", target.shape) for target in plan.targets}
                write_safetensors(file, entries, _arrays(plan))
        with synced(partial / "config.json") as file:
            file.write(json.dumps(describe(config, sizes, layer, language), indent=2).encode())


def _arrays(plan: Plan) -> Iterator[tuple[str, np.ndarray]]:
    return ((target.path, np.ascontiguousarray(target.read())) for target in plan.targets)


def _plan(name: str, table: list[Row], kind: Any, config: Any, tensors: LazyTensors) -> Plan:
    shapes = {path: leaf.shape for path, leaf in parameters(nnx.eval_shape(lambda: kind(config))).items()}
    return match_tensors(name, table, shapes, tensors, _LEFT_OUT)


def _read_config(source: Path) -> HubertConfig:
    """The sizes that config.json states. Raises ConversionError for what is not HuBERT base as it is known here."""
    if source.is_file():
        raise ConversionError(f"{source} {_FAIRSEQ}")
    values = read_json(source / "config.json")
    if values.get("model_type") != "hubert":
        raise ConversionError(f"{source} holds a model of type {values.get('model_type')!r:.50}, not hubert")
    other = [f"{key} is {values[key]!r:.50}, not {known!r}" for key, known in _FIXED.items()
             if key in values and values[key] != known]  # fmt: skip
    refuse(f"{source} asks for what is not supported", other)
    sizes = {ours: values[theirs] for ours, theirs in _SIZES.items() if theirs in values}
    channels = values.get("conv_dim", [512])
    try:
        if len(set(channels)) != 1:
            raise ValueError(f"conv_dim is {channels!r:.100}: all must be equal")
        return checked(HubertConfig, sizes | {"channels": channels[0]})
    except (ValueError, TypeError) as error:
        raise ConversionError(f"{source / 'config.json'}: {error}") from error


def _hubert_tensors(source: Path) -> LazyTensors:
    weights = next((source / name for name in HUGGINGFACE_WEIGHTS if (source / name).is_file()), None)
    if weights is None:
        raise ConversionError(f"{source} {_FAIRSEQ}")
    return {name.removeprefix("hubert."): tensor for name, tensor in read_tensors(weights).items()}


def _read_info(path: Path) -> QuantizerConfig:
    """The sizes that a quantiser's file states, else those of version 0. Raises ConversionError."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [name for name in archive.namelist() if name.endswith(_INFO)]
            if not infos:
                return QuantizerConfig()
            said = json.loads(read_member(archive, infos[0], _MOST_INFO))
        names = {"inputs": "input_size", "width": "hidden_size", "vocab": "output_size", "version": "version"}
        return checked(QuantizerConfig, {ours: said[theirs] for ours, theirs in names.items()})
    except OSError as error:
        raise ConversionError(f"cannot read {path}: {error}") from error
    except Exception as error:  # zip and JSON parsers raise a dozen kinds on damaged files
        raise ConversionError(f"{path} is not a quantiser of HuBERT's features: {error!s:.200}") from error


def _quantizer_tensors(path: Path) -> LazyTensors:
    _, tensors = read_model_file(path)
    if "fc.weight" not in tensors or "lstm.weight_ih_l0" not in tensors:
        raise ConversionError(f"{path} is not a quantiser of HuBERT's features: it lacks fc.weight or an LSTM")
    return tensors


def _hubert_rows(config: HubertConfig) -> list[Row]:
    """Where Hugging Face's tensors go; "{}" stands for the number of a layer."""
    g, v = "parametrizations.weight.original0", "parametrizations.weight.original1"  # older: weight_g, weight_v
    convs, positions = "feature_extractor.conv_layers", "encoder.pos_conv_embed.conv"
    rows = [
        _row("first_conv.kernel", f"{convs}.0.conv.weight", "weight", conv_kernel),
        _row("first_conv.scale", f"{convs}.0.layer_norm.weight"),
        _row("first_conv.bias", f"{convs}.0.layer_norm.bias"),
        *(
            _row(f"kernels.{i}", f"{convs}.{i + 1}.conv.weight", "weight", conv_kernel)
            for i in range(len(config.kernels) - 1)
        ),
        *_linear("projection", "feature_projection.projection"),
        *_norm("projection_norm", "feature_projection.layer_norm"),
        *_norm("norm", "encoder.layer_norm"),
        _row("positions.bias", f"{positions}.bias"),
        _row("positions.kernel", f"{positions}.weight", "weight", position_kernel),
        Row("positions.kernel", f"{positions}.{g}", f"{positions}.weight_g", "g", position_kernel),
        Row("positions.kernel", f"{positions}.{v}", f"{positions}.weight_v", "v", position_kernel),
    ]
    block, layer = "blocks.{}", "encoder.layers.{}"
    for kind in ("weight", "bias"):
        for part in "qkv":
            source = f"{layer}.attention.{part}_proj.{kind}"
            rows.append(_row(f"{block}.qkv_projection.{kind}", source, part, side_by_side))
    rows += [
        *_linear(f"{block}.attention_out", f"{layer}.attention.out_proj"),
        *_linear(f"{block}.mlp_in", f"{layer}.feed_forward.intermediate_dense"),
        *_linear(f"{block}.mlp_out", f"{layer}.feed_forward.output_dense"),
        *_norm(f"{block}.attention_norm", f"{layer}.layer_norm"),
        *_norm(f"{block}.mlp_norm", f"{layer}.final_layer_norm"),
    ]
    return rows


def _quantizer_rows() -> list[Row]:
    rows = [*_linear("head", "fc"), *_linear("intermediate", "intermediate")]
    for source, target in (("weight_ih_l{}", "input_weight"), ("weight_hh_l{}", "hidden_weight")):
        rows.append(_row(f"lstm.{{}}.{target}", f"lstm.{source}"))
    for part in ("ih", "hh"):
        rows.append(_row("lstm.{}.bias", f"lstm.bias_{part}_l{{}}", part, lstm_bias))
    return rows


def _row(target: str, source: str, part: str = "", combine: Any = None) -> Row:
    return Row(target, source, source, part, **({"combine": combine} if combine else {}))


def _linear(target: str, source: str) -> list[Row]:
    return [_row(f"{target}.{kind}", f"{source}.{kind}") for kind in ("weight", "bias")]


def _norm(target: str, source: str) -> list[Row]:
    return [_row(f"{target}.scale", f"{source}.weight"), _row(f"{target}.bias", f"{source}.bias")]
