"""Equality of dataclasses that hold arrays."""

import dataclasses
from typing import Any

import numpy as np


class EqualByContent:
    """For dataclasses with `eq=False`: equal are those of one class whose fields are, arrays by dtype and values.

    Fields declared with `compare=False` do not count. Hashes see only the shapes of arrays.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _same(_content(self), _content(other))

    def __hash__(self) -> int:
        return hash((type(self), _hashable(_content(self))))


def _content(instance: Any) -> tuple[Any, ...]:
    return tuple(getattr(instance, field.name) for field in dataclasses.fields(instance) if field.compare)


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return bool(ours == theirs)


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape
    return tuple(map(_hashable, value)) if isinstance(value, tuple) else value
