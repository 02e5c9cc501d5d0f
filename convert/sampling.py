"""How a source asks to be sampled: what its author changed in generation_config.json and config.json.

What differs from the published settings and from transformers' own defaults is an edit, and obeyed. The most specific
one counts: a stage's section of generation_config.json, then that file's top level (for the semantic and coarse
stages, as an option of `generate` would), then the stage's section of config.json.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bark_jax.checkpoint import read_json
from bark_jax.config import BarkConfig, CoarseConfig, FineConfig, SemanticConfig
from bark_jax.layouts import TRANSFORMERS

Values = Mapping[str, Any]

SECTIONS = {"semantic": "semantic_config", "coarse": "coarse_acoustics_config", "fine": "fine_acoustics_config"}
PUBLISHED: dict[str, Values] = {
    "semantic": {"do_sample": True, "temperature": SemanticConfig.temperature},
    "coarse": {"do_sample": True, "temperature": CoarseConfig.temperature},
    "fine": {"do_sample": False, "temperature": FineConfig.temperature},  # which transformers samples all the same
}
# Transformers writes these into files without anybody having chosen them. `top_k: 50` is not in Suno's code.
_LIBRARY: Values = {"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0}
_NOT_HERE: Values = {
    "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "typical_p": 1.0, "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0, "min_p": None, "penalty_alpha": None, "guidance_scale": None, "min_new_tokens": None,
    "suppress_tokens": None, "begin_suppress_tokens": None, "bad_words_ids": None, "sequence_bias": None,
}  # fmt: skip


def read_sampling(stage: str, model: Values, generation: Values) -> dict[str, Any]:
    """The settings of a stage, by our names, that the author of the two files has chosen.

    model, generation: config.json and generation_config.json. `do_sample: false` is a temperature of 0.
    """
    edits = dict(_edits(stage, model, generation))
    if edits.pop("do_sample", True) is False:
        edits["temperature"] = 0.0
    return {key: value for key, value in edits.items() if key != "top_k" or value != 0}  # 0: no limit


def _edits(stage: str, model: Values, generation: Values) -> Iterator[tuple[str, Any]]:
    keys = ("temperature",) if stage == "fine" else ("do_sample", "temperature", "top_k", "top_p")
    for key in keys:
        for value, defaults in _candidates(stage, key, model, generation):
            if value is not None and value not in defaults:
                yield key, value
                break


def _candidates(stage: str, key: str, model: Values, generation: Values) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each place's value, the first to count first, with those that are no edit there."""
    published = PUBLISHED[stage].get(key, _LIBRARY[key])
    yield _section(generation, stage).get(key), (published,)
    if stage != "fine":
        yield generation.get(key), (published, *([] if key == "do_sample" else [_LIBRARY[key]]))
    yield _section(model, stage).get(key), (published, _LIBRARY[key])


def ignored_settings(folder: Path) -> list[str]:
    """What generation_config.json asks for that this project does not have. Raises CheckpointError."""
    path = folder / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    sections = {"": generation} | {f"{SECTIONS[stage]}.": _section(generation, stage) for stage in TRANSFORMERS}
    return [
        f"{prefix}{key} {values[key]!r:.100}"
        for prefix, values in sections.items()
        for key, default in _NOT_HERE.items()
        if values.get(key) not in (None, default)
    ]


def describe_sampling(config: BarkConfig) -> str:
    """The default settings that differ from Suno's, "" if none does."""
    changes = []
    for stage in TRANSFORMERS:
        section = getattr(config, stage)
        for name in ("temperature", "top_k", "top_p", "min_eos_p"):
            value = getattr(section, name, None)
            if value != getattr(type(section), name, None):
                changes.append(f"{stage} greedy" if (name, value) == ("temperature", 0) else f"{stage} {name} {value}")
    return ", ".join(changes)


def _section(values: Values, stage: str) -> Values:
    section = values.get(SECTIONS[stage])
    return section if isinstance(section, dict) else {}
