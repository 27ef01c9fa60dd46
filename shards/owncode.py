"""Calls of a user's own code: an exception in it becomes a one-line error that names the place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shards.errors import UserError
from shards.origin import Origin


@contextmanager
def own_code(
    thing: Any,
    key: str | None = None,
    *,
    within: bool = False,
    foreign: Callable[[Exception], bool] = lambda error: False,
) -> Iterator[None]:
    """Turn an exception that a class or function from outside Tutelage raises inside the block into a
    :class:`UserError`.

    Args:
        thing: the class, the function, or an object of the class, that is called inside.
        key: the option or sample that the error names.
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
        origin = Origin.of_object(thing)
        if origin.shipped or (within and not origin.lines(error)) or foreign(error):
            raise
        reason = " ".join(str(error).split())
        message = f"{origin} raised {type(error).__name__}{': ' + reason if reason else ''}"
        raise UserError(message, file=origin.place(error), key=key, hint="tutelage --debug shows where") from error


def name_of(thing: Any) -> str:
    """Return ``my.module:Name`` of a class, a function, or an object's class."""
    return str(Origin.of_object(thing))
