"""Documentation of every option: its meaning, from the docstring under its field in :mod:`trainer.config` or
:mod:`trainer.sections`, and its default and valid values, from the field itself."""

import ast
import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from trainer.config import Config
from trainer.option import TASK, facts


def documentation(schema: type = Config, prefix: str = "") -> dict[str, str]:
    """Return the meaning of every option by dotted key, in which ``TASK`` stands for the name of any task."""
    texts, hints = _texts(schema), get_type_hints(schema)
    result: dict[str, str] = {}
    for field in fields(schema):
        hint: Any = hints[field.name]
        if is_dataclass(hint):
            result |= documentation(hint, f"{prefix}{field.name}.")  # type: ignore[arg-type]
            continue
        by_task = f"{prefix}{field.name}.TASK" if get_origin(hint) is dict else ""
        result[by_task or prefix + field.name] = texts[field.name]
        for item in get_args(hint):
            if is_dataclass(item):
                result |= documentation(item, f"{by_task}.")  # type: ignore[arg-type]
    return result


def values_in_words(schema: type = Config) -> dict[str, str]:
    """Return default and, where declared, valid values of every option by dotted key, such as ``1; 0 or more``."""
    result, documented = {}, documentation(schema)
    for key, entry in facts(schema).items():
        default = _default(schema, key.split("."))
        if key in documented:
            result[key] = "; ".join(part for part in (default, entry.allowed) if part)
    return result


def _default(schema: Any, path: list[str]) -> str:
    """Return an option's default in words; empty for one that is required, and for entries by task."""
    name, *rest = path
    if name == TASK:
        return ""
    declared = {field.name: field for field in fields(schema)}[name]
    kind: Any = get_type_hints(schema)[name]
    if rest:
        inner = next(filter(is_dataclass, get_args(kind)), None) if rest[0] == TASK else kind
        return _default(inner, rest[1:] if rest[0] == TASK else rest) if inner and rest != [TASK] else ""
    value = declared.default if declared.default_factory is MISSING else declared.default_factory()
    if value == "???" or value is MISSING:
        return ""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value).replace("'", ""))


def meaning(key: str | None) -> str:
    """Return the meaning of an option as the hint of an error; empty for an unknown key."""
    for option, text in documentation().items():
        if key and re.fullmatch(option.replace(".TASK", r"(\.\w+)?"), key):
            return f"it means: {text}"
    return ""


@cache
def _texts(schema: type) -> dict[str, str]:
    definition = ast.parse(inspect.getsource(schema)).body[0]
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
