"""Describe a user's function or object as text that is the same whenever it does the same, as far as can be seen."""

import hashlib
import sys
from collections.abc import Mapping, Set
from functools import partial
from types import CodeType, ModuleType
from typing import Any

import numpy as np

_LONGEST = 200


def describe(value: Any) -> str:
    """Return ``my.module:name`` of a function or a class, followed by what else determines what it does: the arguments
    of a ``functools.partial``, the attributes of an object, the variables that a nested function has captured, and
    a hash of the code of one that has no name of its own. Text that would be long is hashed."""
    return _Description().of(value)


class _Description:
    def __init__(self) -> None:
        self.known: dict[int, tuple[str, Any]] = {}  # with the values, whose ids are not used again meanwhile

    def of(self, value: Any) -> str:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return _shortened(repr(value))
        if id(value) not in self.known:
            self.known[id(value)] = "...", value  # for a value that contains itself
            self.known[id(value)] = _shortened(self._text(value)), value
        return self.known[id(value)][0]

    def named(self, values: Mapping[str, Any]) -> list[str]:
        return [f"{name}={self.of(entry)}" for name, entry in sorted(values.items())]

    def _text(self, value: Any) -> str:
        if isinstance(value, partial):
            return _call("partial", [*map(self.of, (value.func, *value.args)), *self.named(value.keywords)])
        if isinstance(value, ModuleType):
            return value.__name__
        if hasattr(value, "__qualname__"):
            return self._callable(value)
        if isinstance(value, CodeType):
            return self.of([value.co_code, value.co_consts, value.co_names])
        if isinstance(value, Mapping):
            return f"{{{', '.join(f'{self.of(key)}: {self.of(entry)}' for key, entry in value.items())}}}"
        if isinstance(value, list | tuple | Set):
            entries = map(self.of, value)
            return f"[{', '.join(sorted(entries) if isinstance(value, Set) else entries)}]"
        if hasattr(value, "__array__") and (array := _array(value)).dtype != object:
            return f"{array.dtype}{array.shape}({_hash(array.tobytes())})"
        return self._object(value)

    def _object(self, value: Any) -> str:
        kind = type(value)
        if kind.__module__.partition(".")[0] in sys.stdlib_module_names:  # such as a lock, a path or a logger
            text = repr(value)
            return _name(kind) if " at 0x" in text else text
        slots = [name for base in kind.__mro__ for name in _names(vars(base).get("__slots__", ()))]
        attributes = {name: getattr(value, name) for name in slots if hasattr(value, name)}
        return _call(_name(kind), self.named(attributes | getattr(value, "__dict__", {})))

    def _callable(self, value: Any) -> str:
        """Describe a function, a method or a class."""
        parts: list[str] = []
        owner = getattr(value, "__self__", None)
        if not (owner is None or isinstance(owner, ModuleType)):  # a module is the owner of a built-in function
            parts.append(self.of(owner))
        function = getattr(value, "__func__", value)
        code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
        if code is not None and (cells or "<" in function.__qualname__):
            parts.append(f"code {_hash(self.of(code).encode())}")
            parts += self.named(dict(zip(code.co_freevars, map(_content, cells), strict=True)))
            parts += [self.of(entry) for entry in (function.__defaults__, function.__kwdefaults__) if entry]
        return _call(_name(value), parts)


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable without a value yet
        return None


def _names(slots: Any) -> list[str]:
    return [name for name in ([slots] if isinstance(slots, str) else slots) if not name.startswith("__")]


def _name(value: Any) -> str:
    return f"{value.__module__}:{value.__qualname__}"


def _call(name: str, parts: list[str]) -> str:
    return f"{name}({', '.join(parts)})" if parts else name


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text.partition('(')[0][:100]}(sha256 {_hash(text.encode())})"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
