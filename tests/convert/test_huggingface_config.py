"""config.json and generation_config.json → BarkConfig. What is refused is in test_refusals.py."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bark_jax.config import BarkConfig
from bark_jax.convert.configs import read_huggingface_config

from torch_checkpoints import generation_config, torch_config


def write(folder: Path, config: BarkConfig, generation: dict[str, Any] | None) -> Path:
    torch_config(config).to_json_file(folder / "config.json", use_diff=False)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.mark.parametrize(
    "generation",
    [
        None,
        {"_from_model_config": True, "transformers_version": "5.23.0"},
        {"semantic_config": None, "fine_acoustics_config": {"temperature": None}},
    ],
    ids=["absent", "saved by transformers 5", "nulls"],
)
def test_what_is_not_there_is_sunos(generation: dict[str, Any] | None, tmp_path: Path, suno_config: BarkConfig) -> None:
    assert read_huggingface_config(write(tmp_path, suno_config, generation)) == suno_config


def test_what_is_there_counts(tmp_path: Path, config: BarkConfig) -> None:
    generation = generation_config(config)
    generation["semantic_config"] |= {
        "min_eos_p": 0.05,
        "temperature": 0.6,
        "max_new_tokens": 500,
        "semantic_rate_hz": 50,
    }
    generation["coarse_acoustics_config"] |= {"sliding_window_len": 30, "max_coarse_history": 300}
    generation["fine_acoustics_config"] |= {"max_fine_history_length": 256, "temperature": 1}
    semantic = {"min_eos_p": 0.05, "temperature": 0.6, "max_new": 500, "rate_hz": 50.0}
    expected = dataclasses.replace(
        config,
        semantic=dataclasses.replace(config.semantic, **semantic),
        coarse=dataclasses.replace(config.coarse, window=30, max_history=300),
        fine=dataclasses.replace(config.fine, max_history=256, hop=256, temperature=1.0),
    )
    assert read_huggingface_config(write(tmp_path, config, generation)) == expected


@pytest.mark.parametrize("bias", [False, True])
def test_sizes(bias: bool, tmp_path: Path) -> None:
    config = BarkConfig.tiny(bias=bias)
    assert read_huggingface_config(write(tmp_path, config, generation_config(config))) == config
