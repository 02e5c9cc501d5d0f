"""Settings: what they accept, and what they say of the rest."""

import numpy as np
import pytest

from bark_jax.config import BarkConfig
from bark_jax.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("semantic_temperature", 0),
        ("fine_temperature", np.float32(0.3)),
        ("coarse_top_k", np.int64(5)),
        ("semantic_top_p", 1.0),
        ("min_eos_p", None),
        ("max_seconds", 0.021),
        ("coarse_history", 60),
    ],
)
def test_values_that_fit(name: str, value: object) -> None:
    settings = Settings().replace(**{name: value})
    assert getattr(settings, name) == value
    settings.check(BarkConfig.small())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("semantic_temperature", -0.1),
        ("coarse_temperature", float("inf")),
        ("fine_temperature", None),
        ("fine_temperature", "0.5"),
        ("semantic_temperature", True),
        ("semantic_top_k", 0),
        ("coarse_top_k", 1.0),
        ("semantic_top_p", 0),
        ("coarse_top_p", 1.01),
        ("min_eos_p", float("nan")),
        ("max_seconds", 0),
        ("coarse_history", 0),
    ],
)
def test_values_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be .*, not {value!r}"):
        Settings().replace(**{name: value})


@pytest.mark.parametrize("seconds", [1e-9, 0.01, 0.02])
def test_less_than_a_token_is_refused(seconds: float) -> None:
    with pytest.raises(SettingsError, match=r"max_seconds must be a number ≥ 0\.021, .*, not"):
        Settings(max_seconds=seconds).check(BarkConfig.small())


@pytest.mark.parametrize("history", [59, 631])
def test_the_model_bounds_the_history(history: int) -> None:
    with pytest.raises(SettingsError, match="60 … 630"):
        Settings(coarse_history=history).check(BarkConfig.small())


def test_unknown_settings_are_named_with_those_that_exist() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting temprature; the settings are semantic_temperature"):
        Settings().replace(temprature=1)


def test_suno_s_defaults_are_the_published_checkpoints() -> None:
    assert Settings.defaults(BarkConfig.small()) == Settings()
