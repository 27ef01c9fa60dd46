"""Classes and functions named in a configuration or a call: built-in ones by name, a user's as ``my.module:Name``."""

import difflib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from shards.errors import OwnCodeError, UserError
from shards.origin import Origin

_T = TypeVar("_T")


def find_class(name: str, builtin: Mapping[str, type[_T]], base: type[_T], key: str) -> type[_T]:
    """Return the class of a name.

    A module is searched on Python's path and in the working directory. Only a configuration may name a module, since
    its user wrote it; data and checkpoints never do.

    Args:
        name: a key of ``builtin``, or ``MODULE:CLASS``.
        builtin: the built-in classes by name.
        base: the class that it must be derived from.
        key: the option that names it, for errors.

    Raises:
        UserError: when there is no such class, or its module cannot be imported.
    """
    if name in builtin:
        return builtin[name]
    if ":" not in name:
        hint = f"use {', '.join(builtin)}, or my.module:Name for a class of your own"
        raise UserError(f"{name!r} is unknown", key=key, hint=hint)
    value = import_name(name, key)
    if not (isinstance(value, type) and issubclass(value, base)):
        module, _, attribute = name.partition(":")
        hint = f"derive it from {base.__module__}.{base.__name__}"
        raise UserError(f"{attribute} of {module} is not a {base.__name__}", key=key, hint=hint)
    return value


def find_callable(name: str, key: str) -> Any:
    """Return the function, or the class of callable objects, that ``MODULE:NAME`` names.

    Raises:
        UserError: when there is none, or its module cannot be imported.
    """
    value = import_name(name, key)
    if not callable(value):
        message = f"{name} is a {type(value).__name__}, which cannot be called"
        hint = "write MODULE:NAME of a function, or of a class whose objects are called"
        raise UserError(message, key=key, hint=hint)
    return value


def search_working_directory() -> None:
    """Add the working directory to Python's path, as ``python -m`` does and an installed command does not."""
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.append(directory)


def import_name(name: str, key: str) -> Any:
    """Import the object that ``MODULE:NAME`` names.

    The working directory remains on Python's path, since worker processes, which receive objects of such classes,
    inherit that path.

    Raises:
        UserError: when the module cannot be imported, or has no such name.
    """
    module, _, attribute = name.partition(":")
    search_working_directory()
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        hint = f"its file is there, and imports {error.name}: install that"
        if error.name and f"{module}.".startswith(f"{error.name}."):
            hint = "install it, or put it into the folder in which the command is started"
        message = f"{module} cannot be imported ({error})"
        raise UserError(message, file=_place(module, error), key=key, hint=hint) from error
    except Exception as error:  # whatever a user's file does when it is loaded
        text = " ".join(str(error).split())
        message = f"{module} cannot be imported ({type(error).__name__}: {text})"
        raise OwnCodeError(message, file=_place(module, error), key=key) from error
    if not hasattr(imported, attribute):
        matches = difflib.get_close_matches(attribute, vars(imported), 1, cutoff=0.7)
        hint = f"did you mean {matches[0]}?" if matches else "if that is another file, give yours another name"
        file = getattr(imported, "__file__", None) or "a module of Python's own"
        raise UserError(f"{module} ({file}) has no {attribute}", key=key, hint=hint)
    return getattr(imported, attribute)


def _place(module: str, error: Exception) -> str | None:
    """Return the line at which a module's file could not be loaded; None where there is no file."""
    origin = Origin.of_module(module)
    return origin.place(error) if origin.path else None
