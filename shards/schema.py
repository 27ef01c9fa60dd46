"""JSON files whose schema is a dataclass: written in the order of its fields, and every field is checked when read.

A field that an older version did not write gets its default; keys that a newer version added are ignored.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from shards.errors import UserError

T = TypeVar("T")

_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", NoneType: "null"}


class _SchemaMismatch(Exception):
    """A value that does not match the schema, at a key."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(key, message)
        self.key, self.message = key, message


def not_stored(**options: Any) -> Any:
    """Declare a field that is not part of the file."""
    return field(**options, metadata={"not_stored": True})


def omit_default(default: Any) -> Any:
    """Declare a field that is left out of the file where it has its default."""
    return field(default=default, metadata={"omit_default": True})


def to_json(value: Any) -> Any:
    """Convert a dataclass and everything in it to JSON values; keys are in the order of the fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in fields(value) if _is_written(item, value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    return [to_json(entry) for entry in value] if isinstance(value, list | tuple) else value


def from_json(schema: type[T], entry: Any, message: str, file: str | PathLike[str] | None, hint: str) -> T:
    """Convert JSON values to a dataclass.

    Args:
        schema: a dataclass whose fields are annotated with types of JSON values, ``Any``, unions, ``Literal``,
            ``list[...]``, ``tuple[...]``, ``Mapping[str, ...]``, ``Mapping[int, ...]`` (from 0 up) and further
            dataclasses.
        entry: the JSON values.
        message: text of the error for values that do not match the schema, such as "is not a result of a run".
        file, hint: the file and hint of the error.

    Raises:
        UserError: where a field without a default is missing, or a value has another type. It names the dotted key.
    """
    try:
        return _read(schema, entry, "")
    except _SchemaMismatch as error:
        raise UserError(f"{message}: {error.message}", file=file, key=error.key or None, hint=hint) from None


def _is_written(declared: Field[Any], value: Any) -> bool:
    if declared.metadata.get("not_stored"):
        return False
    return not (declared.metadata.get("omit_default") and getattr(value, declared.name) == declared.default)


def _read(kind: Any, value: Any, key: str) -> Any:
    """Convert a JSON value to the type of an annotation."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return _read_one_of(inner, value, key)
    if origin is Literal:
        return value if value in inner else _refuse(value, " or ".join(map(str, inner)), key)
    if is_dataclass(kind):
        return _read_fields(kind, value, key)
    if origin in (list, tuple):
        return _read_list(origin, inner, value, key)
    if origin is not None:
        entries = value if isinstance(value, Mapping) else _refuse(value, "a mapping", key)
        return {
            _read_key(inner[0], name, key): _read(inner[1], entry, _join(key, name)) for name, entry in entries.items()
        }
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return value
    return value if type(value) is kind else _refuse(value, _NAMES[kind], key)


def _read_fields(schema: Any, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        _refuse(value, "a mapping", key)
    values, hints = {}, _hints(schema)
    for item in fields(schema):
        if item.metadata.get("not_stored"):
            continue
        if item.name in value:
            values[item.name] = _read(hints[item.name], value[item.name], _join(key, item.name))
        elif item.default is MISSING and item.default_factory is MISSING:
            raise _SchemaMismatch(_join(key, item.name), "it is missing")
    return schema(**values)


def _read_list(kind: Any, inner: tuple[Any, ...], value: Any, key: str) -> Any:
    if not isinstance(value, list | tuple):
        _refuse(value, "a list", key)
    if kind is list or inner[1:] == (...,):
        return kind(_read(inner[0], entry, _join(key, number)) for number, entry in enumerate(value))
    if len(value) != len(inner):
        _refuse(value, f"a list of {len(inner)}", key)
    return tuple(
        _read(part, entry, _join(key, number)) for number, (part, entry) in enumerate(zip(inner, value, strict=True))
    )


def _read_key(kind: Any, name: str, key: str) -> Any:
    """Convert a key of a mapping, which JSON has as text."""
    if kind is int:
        return int(name) if name.isdecimal() else _refuse(name, _NAMES[int], key)
    return name


def _read_one_of(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others[:-1]:
        try:
            return _read(kind, value, key)
        except _SchemaMismatch:
            continue
    return _read(others[-1], value, key)


def _refuse(value: Any, expected: str, key: str) -> Any:
    text = repr(value)
    raise _SchemaMismatch(key, f"{text if len(text) < 40 else text[:37] + '...'} is not {expected}")


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


@cache
def _hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema)
