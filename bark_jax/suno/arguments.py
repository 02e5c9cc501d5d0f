"""What Suno's sampling arguments mean outside the ranges of `Settings`: numbers there become settings that do the same.

What is no number stays as it is, for `Settings` to refuse.
"""

import math
from numbers import Real
from typing import Any

import numpy as np

from bark_jax.settings import MAX_TEMPERATURE, SettingsError

_LEAST = float(np.finfo(np.float32).tiny)  # above 0


def temperature(value: Any) -> Any:
    """Of two temperatures at which draws are uniform the smaller one."""
    return min(value, MAX_TEMPERATURE) if isinstance(value, Real) else value


def nucleus(top_p: Any) -> Any:
    """No probability exceeds 1, so that nothing is left out; the first one exceeds 0, so that it is left alone."""
    if not isinstance(top_p, Real):
        return top_p
    return max(float(top_p), _LEAST) if top_p < 1 else None


def end_probability(min_eos_p: Any) -> Any:
    """No probability reaches more than 1. See `ends_at_once` for 0 and less."""
    if not isinstance(min_eos_p, Real):
        return min_eos_p
    return max(float(min_eos_p), _LEAST) if min_eos_p <= 1 else None


def ends_at_once(min_eos_p: float | None, allow_early_stop: object) -> bool:
    """Whether every probability of the end is enough to stop, so that nothing is generated."""
    return bool(allow_early_stop) and min_eos_p is not None and min_eos_p <= 0


def duration(max_gen_duration_s: Any, rate_hz: float, most: int) -> float | None:
    """`max_seconds` for Suno's: it adds up the tokens' durations, and stops after the token that exceeds them."""
    if max_gen_duration_s is None:
        return None
    if not isinstance(max_gen_duration_s, Real) or isinstance(max_gen_duration_s, bool):
        raise SettingsError(f"max_gen_duration_s must be a number of seconds or None, not {max_gen_duration_s!r:.50}")
    if math.isnan(max_gen_duration_s):  # which nothing exceeds
        return None
    ends = np.cumsum(np.full(most, 1 / rate_hz))
    tokens = int((ends <= max_gen_duration_s).sum()) + 1
    return (tokens + 0.5) / rate_hz  # far from where rounding decides
