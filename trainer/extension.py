"""Classes and functions that a configuration or a call names: built-in ones by name, a user's as ``my.module:Name``."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from shards.errors import UserError

_T = TypeVar("_T")


def named(name: str, builtin: Mapping[str, type[_T]], base: type[_T], key: str) -> type[_T]:
    """The class that a name stands for.

    A module is looked for where Python does and in the working directory. Only a configuration may name one, which is
    its user's own: data and checkpoints name none.

    Args:
        name: of ``builtin``, or ``MODULE:CLASS``.
        base: what the class must be derived from.
        key: the option that names it, for errors.

    Raises:
        UserError: when there is no such class, or its module cannot be imported.
    """
    if name in builtin:
        return builtin[name]
    if ":" not in name:
        hint = f"use {', '.join(builtin)}, or my.module:Name for a class of your own"
        raise UserError(f"{name!r} is unknown", key=key, hint=hint)
    found = imported(name, key)
    if not (isinstance(found, type) and issubclass(found, base)):
        module, _, attribute = name.partition(":")
        hint = f"derive it from {base.__module__}.{base.__name__}"
        raise UserError(f"{attribute} of {module} is no {base.__name__}", key=key, hint=hint)
    return found


def called(name: str, key: str) -> Any:
    """The function, or the class of callable objects, that ``MODULE:NAME`` stands for.

    Raises:
        UserError: when there is none, or its module cannot be imported.
    """
    found = imported(name, key)
    if not callable(found):
        module, _, attribute = name.partition(":")
        what = f"{module} has no function {attribute}"
        raise UserError(what, key=key, hint="write MODULE:NAME of a function, or of a class whose objects are called")
    return found


def imported(name: str, key: str) -> Any:
    """What ``MODULE:NAME`` stands for, or None where the module has no such name.

    The working directory stays where Python looks for modules, since worker processes, which are handed objects of such
    classes, look where this one does.

    Raises:
        UserError: when the module cannot be imported.
    """
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        hint = "install it, or put it into the folder in which the command is started"
        raise UserError(f"{module} cannot be imported ({error})", key=key, hint=hint) from error
