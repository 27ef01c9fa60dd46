"""The meaning of every option, read from the strings that stand under the fields of :mod:`trainer.config`, and its
default and what else it may be, read from the fields themselves."""

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
    """Every dotted key and what it means; ``TASK`` stands for the name of any task."""
    texts, hints = _texts(schema), get_type_hints(schema)
    result: dict[str, str] = {}
    for each in fields(schema):
        hint: Any = hints[each.name]
        if is_dataclass(hint):
            result |= documentation(hint, f"{prefix}{each.name}.")  # type: ignore[arg-type]
            continue
        by_task = f"{prefix}{each.name}.TASK" if get_origin(hint) is dict else ""
        result[by_task or prefix + each.name] = texts[each.name]
        for item in get_args(hint):
            if is_dataclass(item):
                result |= documentation(item, f"{by_task}.")  # type: ignore[arg-type]
    return result


def values_in_words(schema: type = Config) -> dict[str, str]:
    """The default of every dotted key, and what else it may be where that is declared, such as ``1; 0 or more``."""
    found, known = {}, documentation(schema)
    for key, each in facts(schema).items():
        default = _default(schema, key.split("."))
        if key in known:
            found[key] = "; ".join(part for part in (default, each.allowed) if part)
    return found


def _default(schema: Any, path: list[str]) -> str:
    """What an option is where nobody says anything; empty of one that has to be given, and of what stands by task."""
    name, *rest = path
    if name == TASK:
        return ""
    declared = {each.name: each for each in fields(schema)}[name]
    kind: Any = get_type_hints(schema)[name]
    if rest:
        inner = next(filter(is_dataclass, get_args(kind)), None) if rest[0] == TASK else kind
        return _default(inner, rest[1:] if rest[0] == TASK else rest) if inner and rest != [TASK] else ""
    value = declared.default if declared.default_factory is MISSING else declared.default_factory()
    if value == "???" or value is MISSING:
        return ""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value).replace("'", ""))


def meaning(key: str | None) -> str:
    """What an option means, as an error's hint; empty of a key that is none."""
    for known, text in documentation().items():
        if key and re.fullmatch(known.replace(".TASK", r"(\.\w+)?"), key):
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
