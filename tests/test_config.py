"""Configurations: presets, JSON, and what is refused."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from bark_jax.config import NETWORKS, BarkConfig, ConfigError
from bark_jax.models.parameters import parameter_shapes

PRESETS = ("tiny", "small", "large")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    config = BarkConfig.preset(name)
    assert BarkConfig.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize(
    ("name", "millions"), [("small", (193.0, 104.3, 92.2, 15.9)), ("large", (446.1, 327.9, 311.8, 15.9))]
)
def test_published_sizes_have_the_published_numbers_of_parameters(name: str, millions: tuple[float, ...]) -> None:
    config = BarkConfig.preset(name)
    for network, expected in zip(NETWORKS, millions, strict=True):
        shapes = parameter_shapes(config, network).values()
        count = sum(math.prod(shape) for shape in shapes)
        assert count / 1e6 == pytest.approx(expected, abs=0.1)


def test_derived_rates_are_suno_s() -> None:
    config = BarkConfig.small()
    assert config.coarse_per_semantic == pytest.approx(75 / 49.9 * 2, rel=1e-15)
    assert config.max_semantic_history == 209
    assert (config.codec.hop, config.codec.frame_rate_hz) == (320, 75)


def changed(path: str, value: Any) -> Callable[[], BarkConfig]:
    """The tiny configuration with one field, "stage.field" or "stage.gpt.field", set to another value."""

    def build() -> BarkConfig:
        values = json.loads(BarkConfig.tiny().to_json())
        *parents, name = path.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[name] = value
        return BarkConfig.from_dict(values)

    return build


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("semantic.gpt.heads", 0, "semantic.gpt.heads is 0"),
        ("semantic.gpt.heads", 3, "3 heads"),
        ("semantic.gpt.layers", "2", "semantic.gpt.layers must be int"),
        ("semantic.gpt.bias", 1, "semantic.gpt.bias must be bool"),
        ("semantic.gpt.colour", 1, "there is no field colour"),
        ("semantic.rate_hz", 0, "semantic.rate_hz is 0"),
        ("semantic.min_eos_p", 2, "not a probability"),
        ("semantic.max_new", 0, "semantic.max_new is 0"),
        ("semantic.pad", 199, "semantic.pad"),
        ("coarse.codebooks", 0, "coarse.codebooks is 0"),
        ("coarse.window", 0, "coarse.window is 0"),
        ("fine.hop", 1500, "fine.hop"),
        ("semantic.rate_hz", float("nan"), "semantic.rate_hz"),
        ("semantic.infer", 5000, "semantic token ids exceed"),
        ("semantic.vocab", 211, "semantic.vocab"),
        ("semantic.max_new", 1000, "block_size"),
        ("coarse.infer", 400, "coarse token ids exceed"),
        ("coarse.max_history", 900, "coarse.gpt.block_size"),
        ("fine.pad", 72, "fine.pad"),
        ("fine.gpt", 3, "fine.gpt must be an object"),
        ("codec.codebooks", 7, "fine.gpt.codebooks"),
        ("codec.ratios", [2, 4, 5, 8], "ratios"),
        ("codec.ratios", [8, 0], "codec.ratios is"),
        ("codec.ratios", [], "list of integers"),
        ("codec.audio_channels", 2, "audio_channels"),
    ],
)
def test_bad_values_are_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(path, value)()


def test_missing_fields_are_named() -> None:
    with pytest.raises(ConfigError, match="the field coarse is missing; the field fine is missing"):
        BarkConfig.from_dict({})
    with pytest.raises(ConfigError, match="there is no preset 'huge'"):
        BarkConfig.preset("huge")


def test_configs_are_frozen_and_hashable() -> None:
    config = BarkConfig.tiny()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.codec = None
    assert hash(config) == hash(BarkConfig.tiny())
