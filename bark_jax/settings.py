"""What a caller may choose about one generation."""

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self, TypedDict

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.errors import InputError
from bark_jax.quoting import did_you_mean, quote

MAX_TEMPERATURE = 1e6  # draws are uniform long before


class Overrides(TypedDict, total=False):
    """Single fields of `Settings`, as keywords."""

    semantic_temperature: float
    semantic_top_k: int | None
    semantic_top_p: float | None
    coarse_temperature: float
    coarse_top_k: int | None
    coarse_top_p: float | None
    fine_temperature: float
    min_eos_p: float | None
    allow_early_stop: bool
    max_seconds: float | None
    coarse_history: int | None


class SettingsError(InputError):
    """A setting outside its range."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sampling rules of one generation. Raises SettingsError naming the field that is out of range.

    Filters apply in Suno's order: top-p, top-k, temperature. A temperature of 0 is greedy decoding. The defaults are
    Suno's (a checkpoint's own may differ: see `Settings.defaults`).
    """

    semantic_temperature: float = 0.7
    semantic_top_k: int | None = None
    semantic_top_p: float | None = None
    coarse_temperature: float = 0.7
    coarse_top_k: int | None = None
    coarse_top_p: float | None = None
    fine_temperature: float = 0.5
    min_eos_p: float | None = 0.2  # stop once the end of speech is this probable; None: only when it is drawn
    allow_early_stop: bool = True  # False: never stop before the maximal length
    max_seconds: float | None = None  # of audio; None: what the model allows (published: about 15 s)
    coarse_history: int | None = None  # flat coarse tokens the coarse stage looks back on; None: the most it can

    def __post_init__(self) -> None:
        for name in ("semantic_temperature", "coarse_temperature", "fine_temperature"):
            fits = 0 <= _as_float(getattr(self, name)) <= MAX_TEMPERATURE
            _require(fits, self, name, f"a number in 0 … {MAX_TEMPERATURE:.0f}")
        for name in ("semantic_top_k", "coarse_top_k"):
            _require_optional(self, name, lambda k: _is_integer(k) and k >= 1, "an integer ≥ 1 or None")
        for name in ("semantic_top_p", "coarse_top_p", "min_eos_p"):
            _require_optional(self, name, lambda p: 0 < _as_float(p) <= 1, "a number in (0, 1] or None")
        _require(isinstance(self.allow_early_stop, bool | np.bool), self, "allow_early_stop", "True or False")
        seconds = "a number of seconds > 0 or None"
        _require_optional(self, "max_seconds", lambda s: 0 < _as_float(s) < math.inf, seconds)
        _require_optional(self, "coarse_history", lambda n: _is_integer(n) and n >= 1, "an integer ≥ 1 or None")

    def check(self, config: BarkConfig) -> None:
        """Raise SettingsError for what the model cannot do. (Suno allows a coarse history of 60 … 630.)"""
        least, most = config.coarse.window, config.coarse.max_history
        fits = self.coarse_history is None or least <= self.coarse_history <= most
        _require(fits, self, "coarse_history", f"an integer in {least} … {most} or None")
        token = 1 / config.semantic.rate_hz
        fits = self.max_seconds is None or _as_float(self.max_seconds) >= token
        _require(fits, self, "max_seconds", f"a number ≥ {math.ceil(token * 1000) / 1000}, a token's length, or None")

    @classmethod
    def defaults(cls, config: BarkConfig) -> Self:
        """The settings a checkpoint asks for."""
        return cls(
            semantic_temperature=config.semantic.temperature,
            semantic_top_k=config.semantic.top_k,
            semantic_top_p=config.semantic.top_p,
            coarse_temperature=config.coarse.temperature,
            coarse_top_k=config.coarse.top_k,
            coarse_top_p=config.coarse.top_p,
            fine_temperature=config.fine.temperature,
            min_eos_p=config.semantic.min_eos_p,
        )

    def replace(self, **changes: object) -> Self:
        """A copy with some fields changed. Raises SettingsError for unknown names and for values out of range."""
        check_names(changes, [f.name for f in dataclasses.fields(self)])
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def check_names(given: Collection[str], known: Sequence[str]) -> None:
    """Raise SettingsError for names that are not known."""
    if unknown := sorted(set(given) - set(known)):
        advice = "".join(did_you_mean(name, known) for name in unknown)
        raise SettingsError(f"unknown setting {', '.join(unknown)}; the settings are {', '.join(known)}{advice}")


def _as_float(value: object) -> float:
    """A real number as a float; NaN, which is in no range, for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer or a fraction beyond any float
        return math.nan


def _is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _require_optional(settings: Settings, name: str, valid: Callable[[Any], bool], what: str) -> None:
    value = getattr(settings, name)
    _require(value is None or valid(value), settings, name, what)


def _require(condition: bool, settings: Settings, name: str, what: str) -> None:
    if not condition:
        raise SettingsError(f"{name} must be {what}, not {quote(getattr(settings, name))}")
