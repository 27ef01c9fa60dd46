"""JSON files whose form is a dataclass: written in the order of its fields, and read with a check of every one.

What an older version did not write has the field's default; what a newer one wrote besides is ignored.
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


class _Wrong(Exception):
    """A value of another form, at a key."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(key, what)
        self.key, self.what = key, what


def beside(**options: Any) -> Any:
    """A field that the file does not hold."""
    return field(**options, metadata={"beside": True})


def unless(default: Any) -> Any:
    """A field that is left out of the file where it has its default."""
    return field(default=default, metadata={"unless": True})


def to_json(value: Any) -> Any:
    """A dataclass, and all that is in it, as JSON values; keys in the order of the fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value) if _written(each, value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(entry) for key, entry in value.items()}
    return [to_json(entry) for entry in value] if isinstance(value, list | tuple) else value


def from_json(schema: type[T], entry: Any, what: str, file: str | PathLike[str] | None, hint: str) -> T:
    """The dataclass that JSON values are.

    Args:
        schema: its fields are annotated with types of JSON values, ``Any``, unions, ``Literal``, ``list[...]``,
            ``tuple[...]``, ``Mapping[str, ...]`` and further dataclasses.
        what: is wrong with a file of another form, such as "is not a result of a run".
        file, hint: of the error.

    Raises:
        UserError: where a field without a default is missing, or a value is of another type. It names the key, dotted.
    """
    try:
        return _read(schema, entry, "")
    except _Wrong as error:
        raise UserError(f"{what}: {error.what}", file=file, key=error.key or None, hint=hint) from None


def _written(declared: Field[Any], value: Any) -> bool:
    if declared.metadata.get("beside"):
        return False
    return not (declared.metadata.get("unless") and getattr(value, declared.name) == declared.default)


def _read(kind: Any, value: Any, key: str) -> Any:
    """A value as its annotation has it."""
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
        found = value if isinstance(value, Mapping) else _refuse(value, "a mapping", key)
        return {name: _read(inner[1], entry, _join(key, name)) for name, entry in found.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return value
    return value if type(value) is kind else _refuse(value, _NAMES[kind], key)


def _read_fields(schema: Any, value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        _refuse(value, "a mapping", key)
    found, hints = {}, _hints(schema)
    for each in fields(schema):
        if each.metadata.get("beside"):
            continue
        if each.name in value:
            found[each.name] = _read(hints[each.name], value[each.name], _join(key, each.name))
        elif each.default is MISSING and each.default_factory is MISSING:
            raise _Wrong(_join(key, each.name), "it is missing")
    return schema(**found)


def _read_list(kind: Any, inner: tuple[Any, ...], value: Any, key: str) -> Any:
    if not isinstance(value, list | tuple):
        _refuse(value, "a list", key)
    if kind is list or inner[1:] == (...,):
        return kind(_read(inner[0], entry, _join(key, number)) for number, entry in enumerate(value))
    if len(value) != len(inner):
        _refuse(value, f"a list of {len(inner)}", key)
    return tuple(
        _read(of, entry, _join(key, number)) for number, (of, entry) in enumerate(zip(inner, value, strict=True))
    )


def _read_one_of(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others[:-1]:
        try:
            return _read(kind, value, key)
        except _Wrong:
            continue
    return _read(others[-1], value, key)


def _refuse(value: Any, wanted: str, key: str) -> Any:
    said = repr(value)
    raise _Wrong(key, f"{said if len(said) < 40 else said[:37] + '...'} is not {wanted}")


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


@cache
def _hints(schema: Any) -> dict[str, Any]:
    return get_type_hints(schema)
