"""Text in configurations: an option that is text keeps what was written, whatever YAML would read in it.

YAML takes ``007``, ``1e-4``, ``no``, ``12:30`` and ``2024_01_05`` for numbers and booleans, and ``#`` for a comment.
Where the type of an option (:mod:`trainer.config`) is text, that is a name or a path and stays as it was written.
"""

import types
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf

from shards.errors import UserError
from trainer.config import Config
from trainer.option import values

_NULL = ("", "~", "null", "Null", "NULL")


def as_written(value: Any, text: Any, kind: Any = Config) -> Any:
    """YAML values with the text of those that are text by their type; keys are always text.

    Args:
        value: as YAML reads it.
        text: the same document, of which nothing but the structure was read (``yaml.BaseLoader``).
        kind: the type of the value, a dataclass or any annotation.
    """
    kinds = _alternatives(kind)
    if isinstance(value, dict) and isinstance(text, dict):
        names = list(text) if len(text) == len(value) and "<<" not in text else [str(name) for name in value]
        return {
            name: as_written(of, text.get(name), _inside(kinds, name))
            for name, of in zip(names, value.values(), strict=True)
        }
    if isinstance(value, list) and isinstance(text, list):
        inner = next((get_args(each)[0] for each in kinds if get_origin(each) is list), None)
        return [as_written(of, its, inner) for of, its in zip(value, text, strict=True)]
    if isinstance(text, str) and not isinstance(value, str) and value is not None:
        any_text = Any in kinds and not isinstance(value, bool)
        if any_text or (str in kinds and not isinstance(value, tuple(k for k in kinds if isinstance(k, type)))):
            return text
    return value


def override(key: str, written: str) -> DictConfig:
    """What ``key=written`` on a command line means.

    Raises:
        yaml.YAMLError, omegaconf.errors.OmegaConfBaseException: when it is not YAML where it has to be.
    """
    kind: Any = Config
    for name in key.replace("[", ".").replace("]", "").split("."):
        kind = _inside(_alternatives(kind), name)
    kinds = _alternatives(kind)
    if written.strip()[:1] not in ("'", '"') and str in kinds and set(kinds) <= {str, type(None)}:
        content = OmegaConf.create()
        OmegaConf.update(content, key, None if written.strip() in _NULL else written.strip())
        return content
    content = OmegaConf.from_dotlist([f"{key}={written}"])
    value = OmegaConf.to_container(content)
    for name in _parts(value, key):
        value = value[name]  # type: ignore[index]
    typed = as_written(value, yaml.load(written, yaml.BaseLoader), kind)
    if typed != value or type(typed) is not type(value):
        OmegaConf.update(content, key, typed, merge=False)
    return content


def expand_home(config: Any, path: str | Path) -> None:
    """Put the home folder in place of ``~`` at the beginning of every path of a resolved configuration.

    Raises:
        UserError: for ``~NAME`` of a user that there is not.
    """
    for key, value, facts in [*values(Config, config)]:
        if facts.path and isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(config, key, home(value, path, key))


def home(value: str, file: str | Path | None = None, key: str | None = None) -> str:
    """A path with its user's home folder in place of ``~``.

    Raises:
        UserError: for ``~NAME`` of a user that there is not.
    """
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        hint = "write ./~ for a folder of that name"
        raise UserError(f"{value} names a home folder that there is not", file=file, key=key, hint=hint) from None


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union, or the one."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _inside(kinds: tuple[Any, ...], name: str) -> Any:
    """The type of what stands under a name in a value of one of these types; None where that is not known."""
    for kind in kinds:
        if is_dataclass(kind):
            return get_type_hints(kind).get(name)
        if get_origin(kind) is dict:
            return get_args(kind)[1]
    return None


def _parts(value: Any, key: str) -> list[Any]:
    """The keys that lead to an override's value in the nested mapping that holds nothing else."""
    parts = []
    for _ in key.replace("[", ".").replace("]", "").split("."):
        if not isinstance(value, dict) or len(value) != 1:
            break
        (name,) = value
        parts.append(name)
        value = value[name]
    return parts
