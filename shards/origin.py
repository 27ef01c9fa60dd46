"""Where code of a user's own is written, so that what it raises is one line that names that place."""

import hashlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shards.errors import UserError

_SHIPPED = frozenset({"tutelage", "launchers", "analysis", "trainer", "shards"})


@dataclass(frozen=True)
class Origin:
    """The file and the name of the code that somebody wrote.

    Args:
        path: of the file; empty where there is none.
        module: as it is imported.
        name: of the class in it.
    """

    path: str
    module: str
    name: str = ""

    @classmethod
    def of(cls, source: Any) -> "Origin":
        """Of a source's class; of one that wraps another, the inner one's."""
        while _shipped(type(source).__module__) and hasattr(source, "source"):
            source = source.source
        return cls.written(type(source))

    @classmethod
    def written(cls, thing: Any) -> "Origin":
        """Of a class or a function, or of an object's class."""
        of = thing if hasattr(thing, "__qualname__") else type(thing)
        module, name = of.__module__, of.__qualname__.rpartition(".")[2]
        return cls(getattr(sys.modules.get(module), "__file__", None) or "", module, name)

    @classmethod
    def of_module(cls, module: str, name: str = "") -> "Origin":
        """Of a module that may not have been imported, and may not be there."""
        spec = None
        with suppress(ImportError, ValueError):  # of a package that it lies in
            spec = find_spec(module)
        return cls(spec.origin or "" if spec and spec.has_location else "", module, name)

    def __str__(self) -> str:
        """``my.module:Name``, as a configuration names it."""
        return f"{self.module}:{self.name}"

    @property
    def shipped(self) -> bool:
        """Whether it is Tutelage's own."""
        return _shipped(self.module)

    @property
    def file(self) -> str:
        """As messages name it: the file, from the working directory where it lies within."""
        if self.shipped or not self.path:
            return self.name if self.shipped else self.module
        short = os.path.relpath(self.path)
        return self.path if short.startswith("..") else short

    def sha256(self) -> str | None:
        """Hash of the file, of code from outside only."""
        path = Path(self.path)
        return None if self.shipped or not path.is_file() else hashlib.sha256(path.read_bytes()).hexdigest()

    @contextmanager
    def named(self, key: str) -> Iterator[None]:
        """Errors within that name no file name this one, and the key."""
        try:
            yield
        except UserError as error:
            if error.file is not None:
                raise
            own = error.key
            if own is not None and own != key and not key.endswith(f"/{own}"):
                key = f"{key}: {own}"
            raise type(error)(error.what, file=self.place(error), key=key, hint=error.hint) from error

    @contextmanager
    def blamed(self, doing: str, key: str, hint: str, kind: type[UserError] = UserError) -> Iterator[None]:
        """As :meth:`named`; and whatever else is raised within becomes one line: what raised it, its type, its
        message, and the line of the file.

        Args:
            doing: what is called, as the subject of a sentence.
            key: what it is called for.
            hint: what to do about it.
            kind: of the error.
        """
        with self.named(key):
            try:
                yield
            except (UserError, MemoryError):
                raise
            except Exception as error:
                message = " ".join(str(error).split())
                what = f"{doing} raised {type(error).__name__}" + (f": {message}" if message else "")
                raise kind(what, file=self.place(error), key=key, hint=hint) from error

    def place(self, error: BaseException) -> str:
        """The file, and the last of its lines that an error came through."""
        lines = self.lines(error)
        if isinstance(error, SyntaxError) and error.filename and self._is(error.filename) and error.lineno:
            lines.append(error.lineno)
        return f"{self.file}:{lines[-1]}" if lines and not self.shipped else self.file

    def lines(self, error: BaseException) -> list[int]:
        """Those of the file that an error came through, the innermost last."""
        return [line for frame, line in traceback.walk_tb(error.__traceback__) if self._is(frame.f_code.co_filename)]

    def _is(self, file: str) -> bool:
        return bool(self.path) and Path(file).resolve() == Path(self.path).resolve()


def _shipped(module: str) -> bool:
    return module.partition(".")[0] in _SHIPPED
