"""BarkConfig → Hugging Face's config.json and generation_config.json, and Suno's `model_args`."""

import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from bark_jax.config import BarkConfig

from .configs import CODEC_RULES, GENERATION, SECTIONS, huggingface_config, stage_sizes, suno_config
from .errors import ConversionError, refuse
from .sampling import PUBLISHED

_SAMPLING = ("temperature", "top_k", "top_p", "min_eos_p")
_ARCHITECTURES = {"semantic": "semantic", "coarse": "coarse_acoustics", "fine": "fine_acoustics", "codec": "encodec"}
_BITS = 10  # of a code, by which transformers counts the codebooks of a bandwidth


def huggingface_configs(config: BarkConfig) -> dict[str, dict[str, Any]]:
    """The content of config.json and generation_config.json, by these names."""
    model: dict[str, Any] = {"model_type": "bark", "architectures": ["BarkModel"], "initializer_range": 0.02,
                             "dtype": "float32"}  # fmt: skip
    for stage, section in SECTIONS.items():
        sizes = _codec_section(config) if stage == "codec" else stage_sizes(config, stage)
        model[section] = {"model_type": _ARCHITECTURES[stage], **sizes}
    model["fine_acoustics_config"]["n_codes_given"] = 1
    generation: dict[str, Any] = {
        "model_type": "bark", "sample_rate": config.codec.sample_rate, "codebook_size": config.codec.codebook_size,
    }  # fmt: skip
    for stage, names in GENERATION.items():
        values = dataclasses.asdict(getattr(config, stage))
        generation[SECTIONS[stage]] = {theirs: values[ours] for theirs, ours in names.items()} | _sampling(
            stage, values
        )
    generation["coarse_acoustics_config"]["coarse_rate_hz"] = config.codec.frame_rate_hz
    generation["fine_acoustics_config"] |= {
        "max_fine_input_length": config.fine.gpt.block_size, "n_fine_codebooks": config.fine.gpt.codebooks
    }  # fmt: skip
    return {"config.json": model, "generation_config.json": generation}


def _sampling(stage: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Published values where this project has none; a temperature of 0 is `do_sample: false`, as they are read."""
    if stage == "fine":
        return {"do_sample": PUBLISHED[stage]["do_sample"]}
    greedy = values["temperature"] == 0
    settings = {"do_sample": not greedy, "top_k": values["top_k"] or 50, "top_p": values["top_p"] or 1.0}
    return settings | ({"temperature": PUBLISHED[stage]["temperature"]} if greedy else {})


def _codec_section(config: BarkConfig) -> dict[str, Any]:
    codec = config.codec
    bandwidth = codec.codebooks * _BITS * codec.frame_rate_hz / 1000  # kbit/s: as many codebooks as there are
    sizes = stage_sizes(config, "codec")
    return {**CODEC_RULES, **sizes, "upsampling_ratios": list(codec.ratios), "codebook_dim": codec.width,
            "target_bandwidths": [bandwidth]}  # fmt: skip


def suno_arguments(config: BarkConfig, network: str) -> dict[str, Any]:
    """`model_args` of one of Suno's files."""
    names = {"num_layers": "n_layer", "num_heads": "n_head", "hidden_size": "n_embd"}
    sizes = {names.get(key, key): value for key, value in stage_sizes(config, network).items()} | {"dropout": 0.0}
    return sizes | ({"n_codes_given": 1} if network == "fine" else {})


def suno_size(config: BarkConfig) -> str:
    """Whose file names a model has: one of SIZES."""
    return "large" if config.semantic.gpt.width >= BarkConfig.large().semantic.gpt.width else "small"


def check_huggingface(config: BarkConfig) -> None:
    """Raise ConversionError for what Hugging Face's files cannot say; warn of settings that they cannot."""
    files = huggingface_configs(config)
    _check("Hugging Face's", config, huggingface_config(*files.values(), origin="the exported configuration"))


def check_suno(config: BarkConfig) -> None:
    """Raise ConversionError for what Suno's files cannot say: they hold sizes, and nothing else."""
    arguments = {network: suno_arguments(config, network) for network in ("semantic", "coarse", "fine")}
    try:
        read_back = suno_config("the exported files", arguments)
    except ConversionError as error:
        raise ConversionError(f"Suno's layout has no place for other token ids than Suno's: {error}") from error
    _check("Suno's", config, read_back)


def _check(layout: str, config: BarkConfig, read_back: BarkConfig) -> None:
    changes = dict(_differences(json.loads(config.to_json()), json.loads(read_back.to_json())))
    lost = {name for name in changes if name.rpartition(".")[2] in _SAMPLING}
    refuse(f"{layout} layout has no place for", [changes[name] for name in changes if name not in lost])
    if lost:
        warnings.warn(f"{layout} layout loses {', '.join(changes[name] for name in sorted(lost))}", stacklevel=4)


def _differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(ours, dict):
        for key, value in ours.items():
            yield from _differences(value, theirs[key], f"{path}.{key}" if path else key)
    elif ours != theirs:
        yield path, f"{path} {ours!r} (it would be {theirs!r})"
