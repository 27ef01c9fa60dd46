"""Code of a user's own that is called from here: what goes wrong in it is one line that names the place."""

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from shards.errors import UserError

_SHIPPED = frozenset({"tutelage", "launchers", "analysis", "trainer", "shards"})


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
    except UserError:
        raise
    except Exception as error:
        if is_shipped(thing) or (within and not _lines(thing, error)):
            raise
        raise failure(thing, error, key) from error


def failure(thing: Any, error: Exception, key: str | None = None, *, kind: type[UserError] = UserError) -> UserError:
    """The line that says what a user's code raised, and where."""
    lines, file = _lines(thing, error), _file(thing)
    place = f"look at line {lines[-1]} of {file}" if lines else f"look at {file or name_of(thing)}"
    text = " ".join(str(error).split())
    what = f"{name_of(thing)} raises {type(error).__name__}{': ' + text if text else ''}"
    return kind(what, key=key, hint=f"{place} (the whole traceback: tutelage --debug ...)")


def _lines(thing: Any, error: Exception) -> list[int | None]:
    """The lines of the thing's file that led to an exception, the innermost last."""
    file = _file(thing)
    return [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]


def _file(thing: Any) -> str | None:
    with suppress(TypeError, OSError):
        return inspect.getsourcefile(_named(thing))
    return None


def name_of(thing: Any) -> str:
    """``my.module:Name`` of a class, a function, or an object's class."""
    of = _named(thing)
    return f"{of.__module__}:{of.__qualname__}"


def is_shipped(thing: Any) -> bool:
    return _named(thing).__module__.partition(".")[0] in _SHIPPED


def _named(thing: Any) -> Any:
    return thing if hasattr(thing, "__qualname__") else type(thing)
