"""What a conversion will do, worked out before anything is written: every target with its source tensors."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bark_jax.config import BarkConfig

from .combine import Combine
from .rules import LEFT_OUT, Row, first_match, rows
from .tensors import LazyTensor, LazyTensors

if TYPE_CHECKING:
    from bark_jax.models.parameters import Shape

_FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass
class Target:
    """One array of the checkpoint."""

    path: str
    shape: tuple[int, ...]
    combine: Combine
    parts: dict[str, LazyTensor] = field(default_factory=dict)
    twins: list[tuple[LazyTensor, LazyTensor]] = field(default_factory=list)  # must be equal

    def add(self, tensor: LazyTensor, row: Row) -> list[str]:
        """Make the tensor the part that the row says; what stands against it."""
        problems = []
        if tensor.dtype not in _FLOATS:
            problems.append(f"{tensor.label} has dtype {tensor.dtype}, not one of {', '.join(_FLOATS)}")
        other = self.parts.setdefault(row.part, tensor)
        if other is not tensor and row.tied:
            self.twins.append((other, tensor))
        elif other is not tensor:
            problems.append(f"{tensor.label} and {other.label} are the same tensor twice")
        return problems

    @property
    def bytes(self) -> int:
        """In float32."""
        return 4 * math.prod(self.shape)

    def read(self) -> np.ndarray:
        """The array, in a dtype that the source has or float32. KeyError, ValueError: see combine.py."""
        return self.combine({part: tensor.read() for part, tensor in self.parts.items()})

    def problems(self) -> Iterator[str]:
        """Reads the array and says what is wrong with it."""
        labels = ", ".join(tensor.label for tensor in self.parts.values())
        try:
            array = self.read()
        except KeyError as error:
            yield f"{self.path}: part {error} is missing beside {labels}"
            return
        except ValueError as error:
            yield f"{self.path}, from {labels}: {error}"
            return
        if array.shape != self.shape:
            yield f"{self.path} must be {self.shape}, not {array.shape}, from {labels}"
        elif not _finite(array):
            yield f"{self.path} has values that are not finite, from {labels}"
        for tensor, twin in self.twins:
            if not np.array_equal(tensor.read(), twin.read()):
                yield f"{twin.label} is untied: it must equal {tensor.label}, which stands for both here"


def _finite(array: np.ndarray) -> bool:
    """Whether all values are finite in float32. The extremes decide, so that no array of booleans is made."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.float32(array.min())) and np.isfinite(np.float32(array.max())))


@dataclass
class Plan:
    """The targets of one network, the number of tensors that are not used by rule, and what prevents the conversion."""

    targets: list[Target]
    left_out: Counter[str]
    problems: list[str]


def plan(network: str, config: BarkConfig, tensors: LazyTensors, *, converted: bool = False) -> Plan:
    """Match every source tensor with its target, by name. No tensor is read.

    converted: whether the tensors have been converted before, and are what they are to be.
    """
    from bark_jax.models.parameters import parameter_shapes  # with JAX, which a refusal need not wait for

    table, shapes = rows(network, config), parameter_shapes(config, network)
    return match_tensors(network, table, shapes, tensors, LEFT_OUT, converted=converted)


def match_tensors(
    network: str, table: list[Row], shapes: Mapping[str, "Shape"], tensors: LazyTensors, ignored: Mapping[str, str],
    *, converted: bool = False,
) -> Plan:  # fmt: skip
    """`plan` by any table, shapes of targets, and rules for tensors that are not used."""
    targets: dict[str, Target] = {}
    left_out: Counter[str] = Counter()
    problems: list[str] = []
    for name, tensor in tensors.items():
        if match := (Row(name, name, name), name) if converted else first_match(name, table):
            row, path = match
            if path in shapes:
                problems += targets.setdefault(path, Target(path, shapes[path], row.combine)).add(tensor, row)
            else:
                problems.append(f"{tensor.label} has no place in a network of this configuration")
        elif reason := next((reason for reason, pattern in ignored.items() if re.fullmatch(pattern, name)), None):
            left_out[reason] += 1
        else:
            problems.append(f"{tensor.label} is not part of the {network} network")
    problems += [f"{network} {path}: no source tensor" for path in shapes if path not in targets]
    return Plan(list(targets.values()), left_out, problems)
