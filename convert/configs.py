"""The configurations of a source → BarkConfig.

Sizes come from Hugging Face's config.json or Suno's `model_args`; token ids, rates, windows and temperatures from
generation_config.json, where it has them, else they are Suno's, the defaults of BarkConfig. Keys of config.json that
are not named here or in sampling.py are ignored; those of generation_config.json are named by ignored.py.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bark_jax.checkpoint import read_json
from bark_jax.config import BarkConfig, ConfigError

from . import sampling
from .errors import ConversionError, refuse

Values = Mapping[str, Any]

_LARGEST_SIZE = 2**20  # of a vocabulary or a layer: seven times the published vocabulary
_MOST_LAYERS = 256
_MOST_RATIOS = 8  # each doubles the channels
_COUNTS = ("num_layers", "num_lstm_layers", "n_codes_total")  # of things that are built one by one

SECTIONS = sampling.SECTIONS | {"codec": "codec_config"}  # of config.json

# Their key → our field. All are required.
_TRUNK = {
    "num_layers": "layers", "num_heads": "heads", "hidden_size": "width", "block_size": "block_size", "bias": "bias",
}  # fmt: skip
_CAUSAL = _TRUNK | {"input_vocab_size": "input_vocab", "output_vocab_size": "output_vocab"}
_FINE = _TRUNK | {"input_vocab_size": "vocab", "n_codes_total": "codebooks"}
_CODEC = {
    "sampling_rate": "sample_rate", "audio_channels": "audio_channels", "num_filters": "filters",
    "hidden_size": "width", "upsampling_ratios": "ratios", "kernel_size": "kernel", "last_kernel_size": "last_kernel",
    "residual_kernel_size": "residual_kernel", "compress": "compress", "num_lstm_layers": "lstm_layers",
    "codebook_size": "codebook_size",
}  # fmt: skip
_SIZES = {"semantic": _CAUSAL, "coarse": _CAUSAL, "fine": _FINE, "codec": _CODEC}

# Values that change the computation. Only these are supported; a missing key means the same.
_TRANSFORMER_RULES = {
    "activation_function": "gelu", "hidden_act": "gelu", "layer_norm_epsilon": 1e-5, "layer_norm_eps": 1e-5,
}  # fmt: skip
CODEC_RULES: Values = {
    "model_type": "encodec", "norm_type": "weight_norm", "use_causal_conv": True, "pad_mode": "reflect",
    "trim_right_ratio": 1.0, "use_conv_shortcut": True, "num_residual_layers": 1, "normalize": False,
    "chunk_length_s": None, "overlap": None, "audio_channels": 1,
}  # fmt: skip
_RULES: dict[str, Values] = {
    "semantic": _TRANSFORMER_RULES,
    "coarse": _TRANSFORMER_RULES,
    "fine": _TRANSFORMER_RULES | {"n_codes_given": 1},
    "codec": CODEC_RULES,
}  # fmt: skip

_SAMPLING = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p"}
GENERATION = {
    "semantic": {
        "semantic_vocab_size": "vocab", "eos_token_id": "pad", "semantic_pad_token": "pad",
        "text_encoding_offset": "text_offset", "text_pad_token": "text_pad",
        "semantic_infer_token": "infer", "semantic_rate_hz": "rate_hz", "max_input_semantic_length": "max_text",
        "max_new_tokens": "max_new", "min_eos_p": "min_eos_p", "words": "words", **_SAMPLING,
    },
    "coarse": {
        "n_coarse_codebooks": "codebooks", "coarse_semantic_pad_token": "semantic_pad", "coarse_infer_token": "infer",
        "max_coarse_input_length": "max_semantic", "max_coarse_history": "max_history", "sliding_window_len": "window",
        **_SAMPLING,
    },
    "fine": {"max_fine_history_length": "max_history", "temperature": "temperature"},
}  # fmt: skip

# Settings of generation_config.json, by section, that must agree with a size of the model, or with another setting.
CHECKED: dict[str, dict[str, Callable[[BarkConfig], Any]]] = {
    "": {
        "sample_rate": lambda config: config.codec.sample_rate,
        "codebook_size": lambda config: config.codec.codebook_size,
    },
    "semantic_config": {"eos_token_id": lambda config: config.semantic.pad},
    "coarse_acoustics_config": {"coarse_rate_hz": lambda config: config.codec.frame_rate_hz},
    "fine_acoustics_config": {
        "max_fine_input_length": lambda config: config.fine.gpt.block_size,
        "n_fine_codebooks": lambda config: config.fine.gpt.codebooks,
    },
}


def read_huggingface_config(folder: Path) -> BarkConfig:
    """From config.json and, if it is there, generation_config.json.

    Raises ConversionError naming every value that is missing, not supported or at odds with another, and
    CheckpointError for a file that is not JSON.
    """
    path, generation_path = folder / "config.json", folder / "generation_config.json"
    generation = read_json(generation_path) if generation_path.is_file() else {}
    return huggingface_config(
        read_json(path), generation, origin=f"{path}{' and generation_config.json' * bool(generation)}"
    )


def huggingface_config(model: Values, generation: Values, *, origin: str) -> BarkConfig:
    """From the content of the two files; `origin` of them, for messages. Raises ConversionError."""
    sections = {stage: _section(model, key) for stage, key in SECTIONS.items()}
    problems = [problem for stage in SECTIONS for problem in _unsupported(stage, sections[stage])]
    for key, supported in (("model_type", "bark"), ("quantization_config", None)):
        if model.get(key, supported) != supported:
            problems.append(f"{key} is {model[key]!r:.200}, supported is {supported!r}")
    refuse(f"{origin} describes a model that cannot be converted", problems)
    settings = {
        stage: _without_library_defaults(_section(generation, SECTIONS[stage]))
        | sampling.read_sampling(stage, model, generation)
        for stage in GENERATION
    }
    config = _build(origin, sections, settings)
    refuse(f"{origin}: the settings contradict the model", list(_contradictions(config, generation)))
    return config


def _without_library_defaults(section: Values) -> dict[str, Any]:
    """A section of generation_config.json without `top_k: 50` and the like, which sampling.py decides about."""
    return {key: value for key, value in section.items() if key not in ("top_k", "top_p")}


def suno_config(origin: object, arguments: Mapping[str, Values]) -> BarkConfig:
    """From the `model_args` of Suno's three files, by stage, with EnCodec 24 kHz and Suno's ids and rates.

    Raises ConversionError naming every value that is missing or not supported.
    """
    sections: dict[str, Values] = {stage: flat_section(values) for stage, values in arguments.items()}
    sections["fine"] = {"n_codes_total": 8} | dict(sections["fine"])
    problems = [problem for stage in arguments for problem in _unsupported(stage, sections[stage])]
    refuse(f"the model_args in {origin} describe a model that cannot be converted", problems)
    return _build(f"the model_args in {origin}", sections, {})


def flat_section(values: Values) -> dict[str, Any]:
    """Suno's names for the sizes of one network, or Hugging Face's, → Hugging Face's."""
    renamed = {"n_layer": "num_layers", "n_head": "num_heads", "n_embd": "hidden_size"}
    vocab = dict.fromkeys(("input_vocab_size", "output_vocab_size"), values.get("vocab_size"))
    return vocab | {renamed.get(key, key): value for key, value in values.items()}


def with_stage(config: BarkConfig, stage: str, sizes: Values, origin: str) -> BarkConfig:
    """The configuration with another network in a stage, of sizes by Hugging Face's names. Raises ConversionError."""
    refuse(f"{origin} describes a network that cannot be converted", list(_unsupported(stage, sizes)))
    values = json.loads(config.to_json())
    values[stage]["gpt"] = _renamed(sizes, _SIZES[stage])
    try:
        return BarkConfig.from_dict(values)
    except ConfigError as error:
        raise ConversionError(f"{origin} does not fit the other stages: {error}") from error


def stage_sizes(config: BarkConfig, stage: str) -> dict[str, Any]:
    """The sizes of a stage's network, or of the codec, by Hugging Face's names."""
    section = getattr(config, stage)
    gpt = dataclasses.asdict(section if stage == "codec" else section.gpt)
    sizes = {theirs: gpt[ours] for theirs, ours in _SIZES[stage].items()}
    return sizes | ({"output_vocab_size": gpt["vocab"]} if stage == "fine" else {})


def _section(values: Values, key: str) -> Values:
    section = values.get(key)
    return section if isinstance(section, dict) else {}


def _unsupported(stage: str, section: Values) -> Iterator[str]:
    name = SECTIONS[stage]
    for key in _SIZES[stage]:
        if (value := section.get(key)) is None:
            yield f"{name} lacks {key}"
        elif not _plausible(value, _MOST_LAYERS if key in _COUNTS else _LARGEST_SIZE):
            yield f"{name}.{key} is {value!r:.200}, which is absurd"
    for key, supported in _RULES[stage].items():
        if section.get(key, supported) != supported:
            yield f"{name}.{key} is {section[key]!r:.200}, supported is {supported!r}"
    if stage == "fine" and section.get("output_vocab_size") != section.get("input_vocab_size"):
        yield f"{name}.output_vocab_size differs from input_vocab_size, to which the heads are tied"
    if stage == "codec" and section.get("codebook_dim") not in (None, section.get("hidden_size")):
        yield f"{name}.codebook_dim {section['codebook_dim']!r:.200} differs from hidden_size"


def _plausible(value: Any, largest: int) -> bool:
    """Whether building something of this size is harmless. Types are checked by BarkConfig."""
    if isinstance(value, list):
        return len(value) <= _MOST_RATIOS and all(_plausible(item, largest) for item in value)
    return not isinstance(value, int) or isinstance(value, bool) or 0 < value <= largest


def _build(origin: str, sections: Mapping[str, Values], generations: Mapping[str, Values]) -> BarkConfig:
    """`sections` and `generations`: stage → values by Hugging Face's names. `origin` of them all, for messages."""
    stages: dict[str, dict[str, Any]] = {}
    for stage, names in GENERATION.items():
        stages[stage] = _renamed(generations.get(stage, {}), names) | {"gpt": _renamed(sections[stage], _SIZES[stage])}
    stages["codec"] = _renamed(sections.get("codec", {}), _CODEC) | {"codebooks": stages["fine"]["gpt"]["codebooks"]}
    if "codebook_size" in stages["codec"]:
        stages["fine"]["pad"] = stages["codec"]["codebook_size"]
    if "max_history" in stages["fine"]:
        stages["fine"]["hop"] = stages["fine"]["max_history"]
    try:
        return BarkConfig.from_dict(stages)
    except ConfigError as error:
        raise ConversionError(f"{origin}: {error}") from error


def _renamed(values: Values, names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: values[theirs] for theirs, ours in names.items() if values.get(theirs) is not None}


def _contradictions(config: BarkConfig, generation: Values) -> Iterator[str]:
    for section, settings in CHECKED.items():
        values = _section(generation, section) if section else generation
        for key, expected in settings.items():
            if values.get(key) not in (None, value := expected(config)):
                yield f"{section or 'its'} {key} is {values[key]!r:.200}, the model needs {value}"
