"""What generation_config.json asks for and this project does not have: named, so that no edit is lost in silence."""

from pathlib import Path
from typing import Any

from bark_jax.checkpoint import read_json
from bark_jax.layouts import TRANSFORMERS

from . import sampling
from .configs import CHECKED, GENERATION
from .sampling import SECTIONS, Values

# Transformers writes these into files without anybody having chosen them, and null for much else.
_LIBRARY: Values = {
    **sampling.LIBRARY,
    "assistant_confidence_threshold": 0.4, "assistant_lookbehind": 10, "disable_compile": False,
    "diversity_penalty": 0.0, "early_stopping": False, "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "generation_kwargs": {},
    "is_assistant": False, "length_penalty": 1.0, "low_memory": False, "max_length": 20, "min_length": 0,
    "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_attentions": False, "output_hidden_states": False, "output_logits": False, "output_scores": False,
    "remove_invalid_values": False, "renormalize_logits": False, "repetition_penalty": 1.0,
    "return_dict_in_generate": False, "target_lookbehind": 10, "token_healing": False, "typical_p": 1.0,
    "use_cache": True,
}  # fmt: skip
# Of no effect on what is said; for the last two the default depends on the release.
_NO_SETTINGS = {"model_type", "transformers_version", "num_assistant_tokens", "num_assistant_tokens_schedule"}


def ignored_settings(folder: Path) -> list[str]:
    """The keys, with their values, that are neither applied nor published nor a default. Raises CheckpointError."""
    path = folder / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    stages = {SECTIONS[stage]: stage for stage in TRANSFORMERS}
    top = {key: value for key, value in generation.items() if key not in stages or not isinstance(value, dict)}
    found = [f"{key} {value!r:.100}" for key, value in top.items() if _is_ignored(key, value, sampling.TOP_LEVEL, "")]
    for name, stage in stages.items():
        applied = {*GENERATION[stage], *sampling.KEYS[stage]}
        for key, value in sampling.section(generation, stage).items():
            if _is_ignored(key, value, applied, name) and value != sampling.PUBLISHED[stage].get(key, _LIBRARY):
                found.append(f"{name}.{key} {value!r:.100}")
    return found


def _is_ignored(key: str, value: Any, applied: Any, section: str) -> bool:
    known = key in applied or key in CHECKED.get(section, {}) or key in _NO_SETTINGS or key.startswith("_")
    return not known and value is not None and (key not in _LIBRARY or value != _LIBRARY[key])
