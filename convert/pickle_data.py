"""A pickle read as data, by a stack machine that cannot import or call anything.

Python's own unpickler is not used at all: even one that resolves no global still fills memory, hashes nested tuples
without end and sets any attribute that a pickle asks for. `torch.save` needs the few opcodes below; everything
else is an error that names it.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ConversionError

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_VALUES = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
})  # fmt: skip


class Record(dict[str, Any]):
    """An object of which only the attributes count, such as argparse.Namespace: they are its items."""


@dataclass(frozen=True)
class Global:
    """The name of something importable. It is never imported."""

    name: str


def read_pickle(
    data: bytes, constructors: Mapping[str, Callable[..., Any]], load_persistent: Callable[[Any], Any], names: set[str]
) -> Any:
    """The object a pickle describes, of dicts, lists, tuples, numbers and strings.

    constructors: what stands in for each global that the pickle may call. names: globals it may only mention.
    load_persistent: the object behind a persistent id. Attributes that the pickle would set become items of a Record,
    and are dropped for anything else. Raises ConversionError for other globals and opcodes, naming them, and for
    damaged pickles.
    """
    machine = _Machine(constructors, load_persistent, names)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.run(opcode.name, argument)
        (result,) = machine.stack
    except ConversionError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ConversionError("its pickle is damaged") from error
    return result


@dataclass
class _Machine:
    constructors: Mapping[str, Callable[..., Any]]
    load_persistent: Callable[[Any], Any]
    names: set[str]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, opcode: str, argument: Any) -> None:
        if opcode in _VALUES:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            self.stack.append(_EMPTY[opcode]())
        else:
            self._act(opcode, argument)

    def _act(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._pop(int(opcode[-1]))))
            case "APPEND" | "APPENDS":
                self._extend(self._pop(1) if opcode == "APPEND" else self._since_mark())
            case "SETITEM" | "SETITEMS":
                self._set_items(self._pop(2) if opcode == "SETITEM" else self._since_mark())
            case "GLOBAL":
                stack.append(self._global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                module, name = self._pop(2)
                stack.append(self._global(f"{module:s}.{name:s}"))
            case "BINPERSID":
                stack.append(self.load_persistent(stack.pop()))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._pop(2)
                stack.append(self._call(function, arguments))
            case "BUILD":
                self._build(*self._pop(1))
            case _:
                raise ConversionError(f"its pickle uses {opcode}, which torch.save never needs for tensors")

    def _pop(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("items for something that is not a list")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        if type(self.stack[-1]) is not dict or any(type(key) not in (str, int) for key in keys):
            raise TypeError("items for something that is not a dict, or keys that are neither strings nor integers")
        self.stack[-1].update(zip(keys, values, strict=True))

    def _build(self, attributes: Any) -> None:
        if type(self.stack[-1]) is Record and type(attributes) is dict:
            self.stack[-1].update(attributes)

    def _global(self, name: str) -> Global:
        if name not in self.constructors and name not in self.names:
            raise ConversionError(f"its pickle wants to run {name!r:.200}, which a checkpoint has no use for")
        return Global(name)

    def _call(self, function: Any, arguments: Any) -> Any:
        if type(function) is not Global or function.name not in self.constructors or type(arguments) is not tuple:
            raise TypeError("a call of something that cannot be called")
        return self.constructors[function.name](*arguments)
