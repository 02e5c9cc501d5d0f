"""Sampling settings that the author of a checkpoint has changed are its defaults here."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig
from transformers.models.bark.generation_configuration_bark import BarkGenerationConfig

from bark_jax.config import BarkConfig
from bark_jax.convert import ConversionError
from bark_jax.convert.configs import read_huggingface_config
from bark_jax.convert.ignored import ignored_settings
from bark_jax.convert.sampling import describe_sampling
from bark_jax.settings import Settings

from torch_checkpoints import torch_config

SUNO = Settings()
SEMANTIC, COARSE, FINE = "semantic_config", "coarse_acoustics_config", "fine_acoustics_config"


def read(
    folder: Path, config: BarkConfig, generation: dict[str, Any], model: dict[str, Any] | None = None
) -> BarkConfig:
    """The configuration of a source with these values in its two files."""
    values = json.loads(torch_config(config).to_json_string(use_diff=False))
    for key, value in (model or {}).items():
        values[key] |= value
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return read_huggingface_config(folder)


@pytest.mark.parametrize("model", ["bark", "bark-small"])
def test_the_published_files_change_nothing(model: str, shared_data: Path) -> None:
    config = read_huggingface_config(shared_data / model)
    assert Settings.defaults(config) == SUNO
    assert describe_sampling(config) == ""
    assert ignored_settings(shared_data / model) == []


LIBRARY = {"do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 1.0, "num_beams": 1, "typical_p": 1.0}


@pytest.mark.parametrize(
    ("generation", "changes", "said"),
    [
        ({SEMANTIC: LIBRARY, COARSE: LIBRARY, FINE: {"do_sample": False, "temperature": 0.5, "top_k": 50}}, {}, ""),
        ({SEMANTIC: {"do_sample": False}}, {"semantic_temperature": 0.0}, "semantic greedy"),
        ({COARSE: LIBRARY | {"do_sample": False}}, {"coarse_temperature": 0.0}, "coarse greedy"),
        (
            {SEMANTIC: {"top_k": 20, "top_p": 0.9}}, {"semantic_top_k": 20, "semantic_top_p": 0.9},
            "semantic top_k 20, semantic top_p 0.9",
        ),
        ({COARSE: {"top_k": 0, "temperature": 0.4}}, {"coarse_temperature": 0.4}, "coarse temperature 0.4"),
        (
            {"temperature": 0.5}, {"semantic_temperature": 0.5, "coarse_temperature": 0.5},
            "semantic temperature 0.5, coarse temperature 0.5",
        ),
        (
            {"do_sample": False, SEMANTIC: LIBRARY}, {"semantic_temperature": 0.0, "coarse_temperature": 0.0},
            "semantic greedy, coarse greedy",
        ),
        (
            {"top_k": 10, SEMANTIC: {"top_k": 30}}, {"semantic_top_k": 30, "coarse_top_k": 10},
            "semantic top_k 30, coarse top_k 10",
        ),
        ({"top_k": 50, "top_p": 1.0, "temperature": 1.0}, {}, ""),
        ({FINE: {"temperature": 0.2}}, {"fine_temperature": 0.2}, "fine temperature 0.2"),
        ({SEMANTIC: {"min_eos_p": 0.05}}, {"min_eos_p": 0.05}, "semantic min_eos_p 0.05"),
        ({"min_eos_p": 0.05}, {"min_eos_p": 0.05}, "semantic min_eos_p 0.05"),
        ({"min_eos_p": 0.05, SEMANTIC: {"min_eos_p": 0.1}}, {"min_eos_p": 0.1}, "semantic min_eos_p 0.1"),
        ({SEMANTIC: {"do_sample": 0}, COARSE: {"do_sample": 1}}, {"semantic_temperature": 0.0}, "semantic greedy"),
        (
            {"semantic_temperature": 0.1, "coarse_temperature": 0.2, "fine_temperature": 0.3, "temperature": 0.9},
            {"semantic_temperature": 0.1, "coarse_temperature": 0.2, "fine_temperature": 0.3},
            "semantic temperature 0.1, coarse temperature 0.2, fine temperature 0.3",
        ),
        ({"fine_temperature": 0.2, FINE: {"temperature": 0.4}}, {"fine_temperature": 0.4}, "fine temperature 0.4"),
        ({SEMANTIC: {"max_new_tokens": 300}}, {}, "semantic max_new 300"),
    ],
)  # fmt: skip
def test_edits_are_applied_and_named(
    generation: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: Path, suno_config: BarkConfig
) -> None:
    read_back = read(tmp_path, suno_config, generation)
    assert Settings.defaults(read_back) == SUNO.replace(**changes)
    assert describe_sampling(read_back) == said
    assert BarkConfig.from_dict(json.loads(read_back.to_json())) == read_back
    assert ignored_settings(tmp_path) == []


def test_edits_in_the_models_own_file_count_last(tmp_path: Path, suno_config: BarkConfig) -> None:
    edited = {SEMANTIC: {"top_k": 20, "temperature": 0.5}, COARSE: {"do_sample": False, "temperature": 1.0}}
    settings = Settings.defaults(read(tmp_path, suno_config, {SEMANTIC: {"top_k": 30}}, edited))
    assert settings == SUNO.replace(semantic_top_k=30, semantic_temperature=0.5)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"top_k": "many"}, "top_k must be int"),
        ({"top_p": 1.5}, "top_p 1.5 is not"),
        ({"top_k": -1}, "top_k must be"),
        ({"do_sample": "false"}, "do_sample of the semantic stage is 'false': write true or false, without quotation"),
        ({"do_sample": 2}, "do_sample of the semantic stage is 2: write true or false"),
    ],
)
def test_impossible_values_are_named(
    values: dict[str, Any], reason: str, tmp_path: Path, suno_config: BarkConfig
) -> None:
    with pytest.raises(ConversionError, match=reason):
        read(tmp_path, suno_config, {SEMANTIC: values})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("repetition_penalty", 1.2), ("num_beams", 4), ("allow_early_stop", False), ("diversity_penalty", 0.5),
        ("encoder_no_repeat_ngram_size", 3), ("exponential_decay_length_penalty", [5, 1.1]), ("max_length", 900),
        ("forced_eos_token_id", 7), ("length_penalty", 2.0), ("max_time", 3), ("stop_strings", ["."]),
        ("do_smaple", False), ("semantic_top_k", 5), ("watermarking_config", {"bias": 2}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", SEMANTIC, COARSE, FINE])
def test_what_is_not_supported_is_named(place: str, key: str, value: Any, tmp_path: Path) -> None:
    values = {key: value, "typical_p": None}
    (tmp_path / "generation_config.json").write_text(json.dumps({place: values} if place else values))
    assert ignored_settings(tmp_path) == [f"{place}.{key} {value}".removeprefix(".")]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"max_new_tokens": 300}, ["max_new_tokens 300"]),
        ({COARSE: {"max_new_tokens": 300}}, ["coarse_acoustics_config.max_new_tokens 300"]),
        ({FINE: {"top_k": 20}}, ["fine_acoustics_config.top_k 20"]),
        ({SEMANTIC: "greedy"}, ["semantic_config 'greedy'"]),
    ],
)
def test_what_has_no_meaning_in_its_place_is_named(values: dict[str, Any], named: list[str], tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(values))
    assert ignored_settings(tmp_path) == named


@pytest.mark.parametrize("place", [None, SEMANTIC, COARSE, FINE])
def test_defaults_of_transformers_are_not_named(place: str | None, tmp_path: Path) -> None:
    """Those of its class, whole, and the numbers that it puts in place of null."""
    defaults = GenerationConfig()
    values = defaults.to_dict() | defaults._get_default_generation_params()
    (tmp_path / "generation_config.json").write_text(json.dumps({place: values} if place else values))
    assert ignored_settings(tmp_path) == []
    (tmp_path / "generation_config.json").write_text(json.dumps(BarkGenerationConfig().to_dict()))
    assert ignored_settings(tmp_path) == []
