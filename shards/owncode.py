"""Calls of a user's own code: an exception in it becomes a one-line error that names the place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shards.errors import OwnCodeError, UserError
from shards.origin import Origin


@contextmanager
def own_code(
    thing: Any,
    key: str | None = None,
    *,
    call: str = "",
    hint: str | None = None,
    kind: type[UserError] = OwnCodeError,
    shipped: bool = False,
    within: bool = False,
    foreign: Callable[[Exception], bool] = lambda error: False,
) -> Iterator[None]:
    """Turn an exception that a class or function from outside Tutelage raises inside the block into a
    :class:`UserError`.

    Args:
        thing: the class, the function, or an object of the class, that is called inside; or its origin.
        key: the option or sample that the error names.
        call: what is called, as the subject of a sentence; by default ``my.module:Name``.
        hint: what to do about the error; by default the commands add how to see where it was raised.
        kind: class of the error that is raised.
        shipped: whether exceptions of a class or function of Tutelage are converted as well.
        within: whether other code is called inside as well, so that only exceptions that passed through the thing's
            own file are converted.
        foreign: whether an exception is not the thing's doing and passes unchanged.

    Raises:
        UserError: with the exception that was raised inside, and the line in the user's file that led to it.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        origin = thing if isinstance(thing, Origin) else Origin.of_object(thing)
        if (origin.shipped and not shipped) or (within and not origin.lines(error)) or foreign(error):
            raise
        reason = " ".join(str(error).split())
        message = f"{call or origin} raised {type(error).__name__}{': ' + reason if reason else ''}"
        raise kind(message, file=origin.place(error), key=key, hint=hint) from error


@contextmanager
def name_errors(origin: Origin, key: str) -> Iterator[None]:
    """Add the origin's file and the key to errors inside the block that name no file."""
    try:
        yield
    except UserError as error:
        if error.file is not None:
            raise
        inner = error.key
        if inner is not None and inner != key and not key.endswith(f"/{inner}"):
            key = f"{key}: {inner}"
        raise type(error)(error.what, file=origin.place(error), key=key, hint=error.hint) from error


def name_of(thing: Any) -> str:
    """Return ``my.module:Name`` of a class, a function, or an object's class."""
    return str(Origin.of_object(thing))
