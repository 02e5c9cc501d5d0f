"""Any value for any setting, and any seed, is used as it should be or refused with its name."""

import dataclasses
from numbers import Integral, Real
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from bark_jax import Bark, Settings
from bark_jax.checkpoint import CheckpointError
from bark_jax.inputs import check_seed
from bark_jax.quoting import quote
from bark_jax.settings import MAX_TEMPERATURE, SettingsError

from fuzzing import VALUES, Command, Fuzz

FIELDS = [field.name for field in dataclasses.fields(Settings)]
FLAGS = {  # → what an error names
    "--temperature": "semantic_temperature",
    "--fine-temperature": "fine_temperature",
    "--top-k": "semantic_top_k",
    "--top-p": "semantic_top_p",
    "--min-eos-p": "min_eos_p",
    "--max-seconds": "max_seconds",
    "--seed": "seed",
}


def in_range(name: str, value: Any) -> bool:
    """The rule of a setting."""
    if name == "allow_early_stop":
        return isinstance(value, bool | np.bool)
    if value is None:
        return not name.endswith("temperature")
    if isinstance(value, bool) or not isinstance(value, Real if "top_k" not in name else Integral):
        return False
    if name.endswith("temperature"):
        return 0 <= value <= np.float64(MAX_TEMPERATURE)
    if name.endswith("_p"):
        return 0 < value <= 1
    return 0 < value < np.inf


def is_short(message: str) -> bool:
    return len(message) < 500 and "\n" not in message


@pytest.mark.parametrize("name", FIELDS)
def test_values_are_in_range_or_refused_by_name(fuzz: Fuzz, name: str) -> None:
    def check(value: Any) -> None:
        try:
            settings = Settings().replace(**{name: value})
        except SettingsError as error:
            assert str(error).startswith(f"{name} must be ")
            assert str(error).endswith(f", not {quote(value)}")
            assert is_short(str(error))
        else:
            assert getattr(settings, name) is value
            assert in_range(name, value)

    fuzz(check, 100, value=VALUES)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if "_top_" in name and name != "semantic_top_k" else name
        for name in FIELDS
    ],
)  # every filter takes seconds to compile
def test_accepted_values_are_used(fuzz: Fuzz, bark: Bark, name: str) -> None:
    """Whatever the settings accept gives a clip as long as it asks for, without a warning."""

    def check(value: Any) -> None:
        settings = {"min_eos_p": None, "allow_early_stop": False, "max_seconds": 0.1} | {name: value}
        try:
            result = bark.generate("Hi", seed=1, **settings)
        except SettingsError as error:
            assert str(error).startswith(f"{name} must be ")
            return
        expected = 768 if settings["max_seconds"] is None else max(1, min(768, float(settings["max_seconds"]) * 49.9))
        assert len(result.semantic) == int(expected)
        assert np.isfinite(result.waveform).all()

    fuzz(check, 12, value=VALUES)


def test_seeds_are_used_or_refused(fuzz: Fuzz, bark: Bark) -> None:
    def check(seed: Any) -> None:
        try:
            check_seed(seed)
        except SettingsError as error:
            assert str(error) == f"seed must be an integer in 0 … 2³² − 1, not {quote(seed)}"
            assert is_short(str(error))
        else:
            assert bark.generate("Hi", seed=seed, max_seconds=0.05, allow_early_stop=False).seed == seed
            assert 0 <= int(seed) < 2**32

    fuzz(check, 60, seed=VALUES)


@pytest.mark.parametrize("probability", [1e-320, 1e-40, 1e-30])
def test_an_end_that_is_not_allowed_is_never_probable_enough(bark: Bark, probability: float) -> None:
    result = bark.generate("Hi", seed=1, min_eos_p=probability, allow_early_stop=False, max_seconds=0.5)
    assert len(result.semantic) == 24


@pytest.mark.parametrize("temperature", [1e-320, 1e-40, 1e-38, 1e-30])
def test_the_smallest_temperatures_are_greedy(bark: Bark, temperature: float) -> None:
    cold, greedy = (
        bark.generate(
            "Hi", seed=1, semantic_temperature=t, coarse_temperature=t, fine_temperature=t,
            max_seconds=0.5, allow_early_stop=False,
        )
        for t in (temperature, 0)
    )  # fmt: skip
    np.testing.assert_array_equal(cold.fine, greedy.fine)


NUMBERS = st.one_of(
    st.text(max_size=6),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["", "nan", "-inf", "1e999", "-1", "0", "1_0", "0x10", "１", "1.", "9" * 5000, "1e-400", "--seed"]),
)


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_are_accepted_or_named(fuzz: Fuzz, command: Command, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    def no_model(*_: object, **__: object) -> None:
        raise CheckpointError("the settings were accepted")

    monkeypatch.setattr(Bark, "from_pretrained", no_model)
    name = FLAGS[flag]

    def check(number: str) -> None:
        code, message = command("say", "Hi", "--model", "random:tiny", f"{flag}={number}")
        if code == 4:
            assert "the settings were accepted" in message
            value = int(number) if flag in ("--top-k", "--seed") else float(number)
            assert -1 <= value < 2**32 if name == "seed" else in_range(name, value)
        else:
            assert code == 2
            assert f"argument {flag}: " in message or f"{name} must be " in message

    fuzz(check, 30, number=NUMBERS)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e999"])
def test_a_benchmark_of_no_length_is_refused(command: Command, seconds: str) -> None:
    code, message = command("bench", f"--seconds={seconds}")
    assert code == 2
    assert "max_seconds must be " in message
