"""What the fuzz tests share: the types of their fixtures, and values that nobody expects."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy


class Fuzz(Protocol):
    def __call__(self, check: Callable[..., None], examples: int, **arguments: SearchStrategy[Any]) -> None: ...


class Command(Protocol):
    def __call__(self, *arguments: str) -> tuple[int, str]: ...


def _numpy_scalars() -> SearchStrategy[Any]:
    names = ("bool", "int8", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64", "longdouble")
    numbers = st.sampled_from([0, 1, 2, 60, 100, 0.5, 1e-7])
    return st.builds(lambda name, number: np.dtype(name).type(number), st.sampled_from(names), numbers)


VALUES = st.one_of(
    st.floats(),
    st.floats(0, 2),
    st.integers(),
    st.integers(0, 700),
    _numpy_scalars(),
    st.sampled_from([
        None, True, False, "", "0.5", b"1", [], {}, (0.5,), object, 1j, "x" * 10**5, [1] * 10**5,
        Fraction(1, 3), Fraction(1, 10**400), Fraction(10**400), Decimal("0.5"), np.zeros(()), np.zeros(3), np.nan,
        -(10**5000), -1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, 2**1024, 10**400, 10**5000, 1e308, 5e-324, 1e-40, -0.0,
    ]),
)  # fmt: skip
"""For any setting or seed: of the wrong type, out of range, or just within it."""
