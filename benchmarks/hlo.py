"""What a compiled program consists of: counts in the text of XLA's final modules."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_ARRAY = re.compile(r"\b([a-z]+\d+[a-z0-9]*|pred)\[([\d,]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')

# What costs nothing by itself on a device: names, views and control.
FREE = frozenset(
    {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
     "opt-barrier", "partition-id", "replica-id", "add-dependency", "domain", "async-update"}
)  # fmt: skip


class Instruction(NamedTuple):
    """A line of a computation."""

    name: str
    shape: str  # "bf16[1,1024]{1,0}", or a tuple of such
    opcode: str
    rest: str  # operands and attributes

    def attribute(self, name: str) -> str | None:
        """The computation that an attribute such as "body" names."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.rest)
        return found[1] if found else None


Module = Mapping[str, list[Instruction]]


def parse(text: str) -> dict[str, list[Instruction]]:
    """The computations of a module's text."""
    module: dict[str, list[Instruction]] = {}
    lines: list[Instruction] = []
    for line in text.splitlines():
        if line and not line[0].isspace():
            opened = _COMPUTATION.match(line)
            lines = module.setdefault(opened[1], []) if opened else []
        elif found := _INSTRUCTION.match(line):
            lines.append(Instruction(*found.groups()))
    return module


def dimensions(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """Type and sizes of the arrays in a shape."""
    return [(kind, tuple(int(n) for n in sizes.split(",") if n)) for kind, sizes in _ARRAY.findall(shape)]


def launched(module: Module, computation: str) -> Iterator[Instruction]:
    """The instructions that a device runs, one by one, in a computation and those that it calls; not in inner loops."""
    for instruction in module[computation]:
        if instruction.opcode == "call":
            yield from launched(module, str(instruction.attribute("to_apply")))
        elif instruction.opcode not in FREE and not instruction.opcode.endswith("-done"):
            yield instruction


def inside(module: Module, computation: str) -> Iterator[Instruction]:
    """All instructions of a computation and of those that it uses, fusions and inner loops among them."""
    for instruction in module[computation]:
        yield instruction
        for called in _CALLED.findall(instruction.rest):
            if called in module and instruction.opcode in ("call", "fusion", "while", "async-start"):
                yield from inside(module, called)


TRANSFERS = ("copy-start", "slice-start")  # between memories of a TPU, beside the computation


class Step(NamedTuple):
    """What one pass of the loop with most kernels runs."""

    kernels: int  # fusions, custom calls, copies and the rest, those of inner loops as often as they run
    transfers: int  # see TRANSFERS
    copies: int
    cache_copies: int  # of a whole layer's keys or values, within a memory
    float32_products: int
    collectives: int


def bodies(module: Module) -> list[str]:
    """The computations that are bodies of loops."""
    return [str(i.attribute("body")) for lines in module.values() for i in lines if i.opcode == "while"]


def step(module: Module, cache: tuple[int, ...] | None = None) -> Step | None:
    """Counts of the loop whose own pass has most kernels: where a stage decodes, that is a step. None without loops.

    cache: the shape of a layer's keys.
    """
    body = max(bodies(module), key=lambda name: sum(1 for _ in launched(module, name)), default=None)
    if body is None:
        return None
    own = list(launched(module, body))
    copies = [i for i in own if i.opcode == "copy" or (i.opcode == "copy-start" and "S(" not in i.shape)]
    return Step(
        kernels=_kernels(module, body),
        transfers=sum(i.opcode in TRANSFERS for i in own),
        copies=len(copies),
        cache_copies=sum(cache is not None and _elements(i.shape) == math.prod(cache) for i in copies),
        float32_products=sum(_float32_product(module, i) for i in set(inside(module, body))),
        collectives=sum(i.opcode.startswith(("all-", "collective-", "reduce-scatter")) for i in own),
    )


def has_type(module: Module, kind: str) -> bool:
    """Whether anything is of a type, such as "f64"."""
    return any(kind == found for lines in module.values() for i in lines for found, _ in dimensions(i.shape))


def _elements(shape: str) -> int:
    return math.prod(dimensions(shape)[0][1]) if dimensions(shape) else 0


def _float32_product(module: Module, instruction: Instruction) -> bool:
    """A product whose operands are float32."""
    if instruction.opcode not in ("dot", "convolution"):
        return False
    names = re.findall(r"%([\w.\-]+)", instruction.rest.partition(")")[0])
    shapes = {i.name: i.shape for lines in module.values() for i in lines}
    return any(kind == "f32" for name in names for kind, _ in dimensions(shapes.get(name, "")))


def _loops(module: Module, computation: str) -> Iterator[Instruction]:
    for instruction in module[computation]:
        if instruction.opcode == "call":
            yield from _loops(module, str(instruction.attribute("to_apply")))
        elif instruction.opcode == "while":
            yield instruction


def _kernels(module: Module, computation: str) -> int:
    own = sum(i.opcode not in TRANSFERS for i in launched(module, computation))
    for loop in _loops(module, computation):
        trips = _TRIPS.search(loop.rest)
        own += (int(trips[1]) if trips else 1) * _kernels(module, str(loop.attribute("body")))
    return own
