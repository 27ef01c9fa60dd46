"""Where a user's own code is defined: its file, module and name, its hash, and its lines in a traceback."""

import hashlib
import os
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_SHIPPED = frozenset({"tutelage", "launchers", "analysis", "trainer", "shards"})


def _derived(kind: type) -> bool:
    """Whether a class is torch.distributed's, or was derived by it; the module of such a class may be any."""
    return any(base.__module__.startswith("torch.distributed.") for base in (kind, *kind.__bases__))


@dataclass(frozen=True)
class Origin:
    """The file, module and name of a piece of code.

    Args:
        path: path of the file; empty where there is none.
        module: name that the module is imported by.
        name: name of the class or function in it.
    """

    path: str
    module: str
    name: str = ""

    @classmethod
    def of_source(cls, source: Any) -> "Origin":
        """Return the origin of a source's class; for a shipped source that wraps another, that of the inner one."""
        while _shipped(type(source).__module__) and hasattr(source, "source"):
            source = source.source
        return cls.of_object(type(source))

    @classmethod
    def of_object(cls, thing: Any) -> "Origin":
        """Return the origin of a class or a function, or of an object's class as it was written: FSDP2 replaces the
        class of a network by one that it derives."""
        definition = thing if hasattr(thing, "__qualname__") else type(thing)
        bases = definition.__mro__ if isinstance(definition, type) else ()
        definition = next((base for base in bases if not _derived(base)), definition)
        module, name = definition.__module__, definition.__qualname__.rpartition(".")[2]
        return cls(getattr(sys.modules.get(module), "__file__", None) or "", module, name)

    @classmethod
    def of_module(cls, module: str, name: str = "") -> "Origin":
        """Return the origin of a module that may not have been imported and may not exist."""
        spec = None
        with suppress(ImportError, ValueError):  # raised by a parent package
            spec = find_spec(module)
        return cls(spec.origin or "" if spec and spec.has_location else "", module, name)

    def __str__(self) -> str:
        """``my.module:Name``, as a configuration names it."""
        return f"{self.module}:{self.name}"

    @property
    def shipped(self) -> bool:
        """Whether the code is part of Tutelage."""
        return _shipped(self.module)

    @property
    def file(self) -> str:
        """The file as messages name it: relative to the working directory where it lies inside."""
        if self.shipped or not self.path:
            return self.name if self.shipped else self.module
        short = os.path.relpath(self.path)
        return self.path if short.startswith("..") else short

    def sha256(self) -> str | None:
        """Return the hash of the file; None for code of Tutelage or without a file."""
        path = Path(self.path)
        return None if self.shipped or not path.is_file() else hashlib.sha256(path.read_bytes()).hexdigest()

    def sha256_with_bases(self) -> str | None:
        """Return the hash of the file of a class, and of the files beside it that define its base classes; None as for
        :meth:`sha256`."""
        kind, own = getattr(sys.modules.get(self.module), self.name, None), self.sha256()
        bases = [Origin.of_object(base) for base in kind.__mro__[1:]] if isinstance(kind, type) else []
        folder = Path(self.path).parent
        files = {base.path: base.sha256() for base in bases if base.path and Path(base.path).parent == folder}
        hashes = [sha256 for path, sha256 in files.items() if path != self.path and sha256]
        if own is None or not hashes:
            return own
        return hashlib.sha256("".join([own, *hashes]).encode()).hexdigest()

    def place(self, error: BaseException) -> str:
        """Return the file and the innermost of its lines in an error's traceback."""
        lines = self.lines(error)
        if isinstance(error, SyntaxError) and error.filename and self._is(error.filename) and error.lineno:
            lines.append(error.lineno)
        return f"{self.file}:{lines[-1]}" if lines and not self.shipped else self.file

    def lines(self, error: BaseException) -> list[int]:
        """Return the lines of the file in an error's traceback, the innermost last."""
        return [line for frame, line in traceback.walk_tb(error.__traceback__) if self._is(frame.f_code.co_filename)]

    def _is(self, file: str) -> bool:
        return bool(self.path) and Path(file).resolve() == Path(self.path).resolve()


def _shipped(module: str) -> bool:
    return module.partition(".")[0] in _SHIPPED
