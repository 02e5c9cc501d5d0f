"""The stages' loops: however the device and the host take turns, the tokens are the same."""

import dataclasses

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("seconds", [0.5, 5])
def test_fixed_trips_change_nothing(watched: bool, seconds: float) -> None:
    """Accelerators run whole segments and windows, and throw away what is past the end."""
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))
    seen: list[tuple[str, int, int]] = []

    def generate() -> np.ndarray:
        progress = (lambda *report: seen.append(report)) if watched else None
        return bark.generate("Hello", seed=4, min_eos_p=0.01, max_seconds=seconds, progress=progress).fine

    expected, reports = generate(), list(seen)
    bark.engine.policy = dataclasses.replace(bark.engine.policy, fixed_trips=True)
    seen.clear()
    np.testing.assert_array_equal(generate(), expected)
    assert seen == reports
