"""Classes and functions that a configuration or a call names: built-in ones by name, a user's as ``my.module:Name``."""

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from shards.errors import UserError
from shards.origin import Origin

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
        raise UserError(f"{attribute} of {module} is not a {base.__name__}", key=key, hint=hint)
    return found


def called(name: str, key: str) -> Any:
    """The function, or the class of callable objects, that ``MODULE:NAME`` stands for.

    Raises:
        UserError: when there is none, or its module cannot be imported.
    """
    found = imported(name, key)
    if not callable(found):
        what = f"{name} is a {type(found).__name__}, which cannot be called"
        raise UserError(what, key=key, hint="write MODULE:NAME of a function, or of a class whose objects are called")
    return found


def imported(name: str, key: str) -> Any:
    """What ``MODULE:NAME`` stands for.

    The working directory stays where Python looks for modules, since worker processes, which are handed objects of such
    classes, look where this one does.

    Raises:
        UserError: when the module cannot be imported, or has no such name.
    """
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        hint = f"its file is there, and imports {error.name}: install that"
        if error.name and f"{module}.".startswith(f"{error.name}."):
            hint = "install it, or put it into the folder in which the command is started"
        what = f"{module} cannot be imported ({error})"
        raise UserError(what, file=_place(module, error), key=key, hint=hint) from error
    except Exception as error:  # whatever a user's file does when it is loaded
        text = " ".join(str(error).split())
        what, hint = f"{module} cannot be imported ({type(error).__name__}: {text})", "tutelage --debug shows where"
        raise UserError(what, file=_place(module, error), key=key, hint=hint) from error
    if not hasattr(found, attribute):
        near = difflib.get_close_matches(attribute, vars(found), 1, cutoff=0.7)
        hint = f"did you mean {near[0]}?" if near else "if that is another file, give yours another name"
        file = getattr(found, "__file__", None) or "a module of Python's own"
        raise UserError(f"{module} ({file}) has no {attribute}", key=key, hint=hint)
    return getattr(found, attribute)


def _place(module: str, error: Exception) -> str | None:
    """The line of a module's file that could not be loaded; None where there is no file."""
    origin = Origin.of_module(module)
    return origin.place(error) if origin.path else None
