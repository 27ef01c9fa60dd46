"""Checks of arguments from Python: what is not of the expected kind is an error of one line that names the argument."""

from numbers import Integral
from os import PathLike
from types import NoneType
from typing import SupportsInt, TypeGuard

from shards.errors import UserError


def check_kind(name: str, value: object, *kinds: type) -> None:
    """Make sure that an argument is a component, not its name or path.

    Raises:
        UserError: naming the argument.
    """
    if not isinstance(value, kinds):
        expected = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise UserError(f"is {_described(value)}", key=name, hint=f"give {_with_article(expected)}")


def check_path(name: str, value: object) -> None:
    """Make sure that an argument is a path or a URL.

    Raises:
        UserError: naming the argument.
    """
    if not isinstance(value, str | PathLike):
        raise UserError(f"is {_described(value)}", key=name, hint="give a path")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Make sure that an argument is a whole number, from ``least`` up.

    Raises:
        UserError: naming the argument.
    """
    if not _is_whole(value) or int(value) < least:
        raise UserError(f"is {_short(value)}", key=name, hint=f"give a whole number from {least} up")


def check_size(name: str, value: object) -> None:
    """Make sure that an argument is a height and a width, or None.

    Raises:
        UserError: naming the argument.
    """
    sides = value if isinstance(value, tuple) and len(value) == 2 else (0,)
    if value is not None and not all(_is_whole(side) and int(side) > 0 for side in sides):
        raise UserError(f"is {_short(value)}", key=name, hint=f"give {name}=(height, width)")


def _is_whole(value: object) -> TypeGuard[SupportsInt]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _described(value: object) -> str:
    """Return a value and its type, such as ``3, an int``."""
    return "None" if value is None else f"{_short(value)}, {_with_article(type(value).__name__)}"


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def _short(value: object) -> str:
    """Return a value in one line of a message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
