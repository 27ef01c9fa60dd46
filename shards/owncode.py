"""Code of a user's own that is called from here: what goes wrong in it is one line that names the place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shards.errors import UserError
from shards.origin import Origin


@contextmanager
def own_code(thing: Any, key: str | None = None, *, within: bool = False) -> Iterator[None]:
    """Inside, an exception of a class or function that is not of Tutelage becomes a :class:`UserError`.

    Args:
        thing: the class, the function, or an object of the class, that is called inside.
        key: what names it: an option, a sample.
        within: whether others' code is called as well, so that only an exception out of the thing's own file is its.

    Raises:
        UserError: with what was raised inside, and the line in the user's file that led there.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        origin = Origin.written(thing)
        if origin.shipped or (within and not origin.lines(error)):
            raise
        message = " ".join(str(error).split())
        what = f"{origin} raised {type(error).__name__}{': ' + message if message else ''}"
        raise UserError(what, file=origin.place(error), key=key, hint="tutelage --debug shows where") from error


def name_of(thing: Any) -> str:
    """``my.module:Name`` of a class, a function, or an object's class."""
    return str(Origin.written(thing))
