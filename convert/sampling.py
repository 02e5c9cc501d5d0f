"""How a source asks to be sampled: what its author changed in generation_config.json and config.json.

What differs from the published settings and from transformers' own defaults is an edit, and obeyed. The most specific
one counts: a stage's section of generation_config.json, then that file's top level (`semantic_temperature` and the
like, then for the semantic and coarse stages `temperature`, as options of `generate` would), then the stage's section
of config.json.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bark_jax.config import BarkConfig, CoarseConfig, FineConfig, SemanticConfig
from bark_jax.layouts import TRANSFORMERS
from bark_jax.quoting import quote

from .errors import ConversionError

Values = Mapping[str, Any]

SECTIONS = {"semantic": "semantic_config", "coarse": "coarse_acoustics_config", "fine": "fine_acoustics_config"}
PUBLISHED: dict[str, Values] = {
    "semantic": {"do_sample": True, "temperature": SemanticConfig.temperature, "renormalize_logits": True},
    "coarse": {"do_sample": True, "temperature": CoarseConfig.temperature, "renormalize_logits": True},
    "fine": {"do_sample": False, "temperature": FineConfig.temperature},  # which transformers samples all the same
}
# Transformers writes these into files without anybody having chosen them. `top_k: 50` is not in Suno's code.
LIBRARY: Values = {"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0}
_CAUSAL = ("do_sample", "temperature", "top_k", "top_p")
KEYS = {"semantic": (*_CAUSAL, "min_eos_p"), "coarse": _CAUSAL, "fine": ("do_sample", "temperature")}  # of a section
TOP_LEVEL = (*KEYS["semantic"], *(f"{stage}_temperature" for stage in TRANSFORMERS))


def read_sampling(stage: str, model: Values, generation: Values) -> dict[str, Any]:
    """The settings of a stage, by our names, that the author of the two files has chosen.

    model, generation: config.json and generation_config.json. `do_sample: false` is a temperature of 0. Raises
    ConversionError.
    """
    edits = dict(_edits(stage, model, generation))
    if not edits.pop("do_sample", True):
        edits["temperature"] = 0.0
    return {key: value for key, value in edits.items() if key != "top_k" or value != 0}  # 0: no limit


def _edits(stage: str, model: Values, generation: Values) -> Iterator[tuple[str, Any]]:
    for key in KEYS[stage]:
        for value, defaults in _candidates(stage, key, model, generation):
            if key == "do_sample" and value not in (None, True, False):  # 0 and 1 will do
                raise ConversionError(
                    f"do_sample of the {stage} stage is {quote(value)}: write true or false, without quotation marks"
                )
            if value is not None and value not in defaults:
                yield key, value
                break


def _candidates(stage: str, key: str, model: Values, generation: Values) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each place's value, the first to count first, with those that are no edit there."""
    library = LIBRARY.get(key)
    published = PUBLISHED[stage].get(key, library)
    yield section(generation, stage).get(key), (published,)
    if key == "temperature":
        yield generation.get(f"{stage}_temperature"), (published,)
    if stage != "fine":
        yield generation.get(key), (published, *([] if key == "do_sample" else [library]))
    yield section(model, stage).get(key), (published, library)


def describe_sampling(config: BarkConfig) -> str:
    """The default settings that differ from Suno's, "" if none does."""
    changes = []
    for stage in TRANSFORMERS:
        settings = getattr(config, stage)
        for name in ("temperature", "top_k", "top_p", "min_eos_p", "max_new"):
            value = getattr(settings, name, None)
            if value != getattr(type(settings), name, None):
                changes.append(f"{stage} greedy" if (name, value) == ("temperature", 0) else f"{stage} {name} {value}")
    return ", ".join(changes)


def section(values: Values, stage: str) -> Values:
    """What a file says of a stage."""
    found = values.get(SECTIONS[stage])
    return found if isinstance(found, dict) else {}
