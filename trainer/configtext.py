"""Text in configurations: an option of type text keeps what was written, whatever YAML would make of it.

YAML reads ``007``, ``1e-4``, ``no``, ``12:30`` and ``2024_01_05`` as numbers and booleans, and ``#`` as a comment.
Where the type of an option (:mod:`trainer.config`) is text, the value is a name or a path and stays as it was written.
"""

import re
import types
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf

from shards.errors import UserError
from trainer.config import Config
from trainer.option import values

_NULL = ("", "~", "null", "Null", "NULL")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
"""Integers that YAML 1.1 reads as octal, or, with an 8 or a 9, as text."""


def restore_text(value: Any, text: Any, kind: Any = Config, key: str = "") -> Any:
    """Return YAML values in which those of type text are as they were written; keys are always text.

    Args:
        value: as YAML reads it.
        text: the same document with all scalars as text (``yaml.BaseLoader``).
        kind: the type of the value, a dataclass or any annotation.
        key: the dotted key of the value, for errors.

    Raises:
        UserError: for a number with a leading zero, such as 010, which YAML would read as 8.
    """
    kinds = _alternatives(kind)
    if isinstance(value, dict) and isinstance(text, dict):
        names = list(text) if len(text) == len(value) and "<<" not in text else [str(name) for name in value]
        return {
            name: restore_text(item, text.get(name), _inside(kinds, name), f"{key}.{name}" if key else name)
            for name, item in zip(names, value.values(), strict=True)
        }
    if isinstance(value, list) and isinstance(text, list):
        inner = next((get_args(alternative)[0] for alternative in kinds if get_origin(alternative) is list), None)
        return [restore_text(item, item_text, inner, key) for item, item_text in zip(value, text, strict=True)]
    if isinstance(text, str) and not isinstance(value, str) and value is not None:
        any_text = Any in kinds and not isinstance(value, bool)
        if any_text or (str in kinds and not isinstance(value, tuple(k for k in kinds if isinstance(k, type)))):
            return text
    if isinstance(text, str) and _LEADING_ZERO.fullmatch(text) and not {int, float}.isdisjoint(kinds):
        hint = "write it without the zero, with which YAML reads it as octal"
        raise UserError(f"{text} is a number with a leading zero", key=key, hint=hint)
    return value


def parse_override(key: str, written: str) -> DictConfig:
    """Parse ``key=written`` of a command line.

    Raises:
        yaml.YAMLError, omegaconf.errors.OmegaConfBaseException: when it is not YAML, for options that are not text.
        UserError: see :func:`restore_text`.
    """
    kind: Any = Config
    for name in key.replace("[", ".").replace("]", "").split("."):
        kind = _inside(_alternatives(kind), name)
    kinds = _alternatives(kind)
    if written.strip()[:1] not in ("'", '"') and str in kinds and set(kinds) <= {str, type(None)}:
        value = None if written.strip() in _NULL else written.strip()
    else:
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={written}"]))
        value = restore_text(parsed["value"], yaml.load(written, yaml.BaseLoader), kind, key)
    content = OmegaConf.create()
    OmegaConf.update(content, key, value)
    return content


def expand_home(config: Any, file_of: Callable[[str], str | Path]) -> None:
    """Replace ``~`` at the beginning of every path in a resolved configuration by the home folder.

    Args:
        config: the ``DictConfig``.
        file_of: returns the file that an option's value comes from, for errors.

    Raises:
        UserError: for ``~NAME`` of a user that does not exist.
    """
    for key, value, facts in [*values(Config, config)]:
        if facts.path and isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(config, key, expand_user(value, file_of(key), key))


def expand_user(value: str, file: str | Path | None = None, key: str | None = None) -> str:
    """Return a path with the user's home folder in place of ``~``.

    Raises:
        UserError: for ``~NAME`` of a user that does not exist.
    """
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        hint = "write ./~ for a folder of that name"
        raise UserError(f"{value} names a home folder that does not exist", file=file, key=key, hint=hint) from None


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the single type."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _inside(kinds: tuple[Any, ...], name: str) -> Any:
    """Return the type of the entry of this name in a value of one of these types; None where that is unknown."""
    for kind in kinds:
        if is_dataclass(kind):
            return _hints(kind).get(name)  # type: ignore[arg-type]
        if get_origin(kind) is dict:
            return get_args(kind)[1]
    return None


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name. Callers must not change the mapping."""
    return get_type_hints(kind)
