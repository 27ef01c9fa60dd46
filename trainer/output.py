"""What is printed never ends the work: characters that cannot be shown, a reader that is gone, a full disk."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_PLAIN = {"−": "-", "–": "-", "—": "-", "·": "|", "…": "...", "×": "x", "±": "+-", "→": "->", "Δ": "d", "δ": "d"}
_PLAIN |= {
    "τ": "tau",
    "α": "alpha",
    "²": "2",
    "°": " deg",
    "“": '"',
    "”": '"',
    "’": "'",
    "‘": "'",
    "≤": "<=",
    "≥": ">=",
}


def plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of ``codecs``: signs of ours in plain letters, all else as ``\\xNN`` or ``\\uNNNN``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = "".join(_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in text)
    return shown, error.end


codecs.register_error("tutelage.plain", plain)


class Lasting:
    """Standard output or error that never raises: what cannot be encoded is spelt (:func:`plain`), and from where it
    cannot be written any more it goes nowhere. A reader that is gone (``| head``) has seen enough; another reason, such
    as a full disk, is told once on standard error.

    Args:
        name: of ``sys``, ``stdout`` or ``stderr``.
        stream: None for whatever ``sys`` has when something is written.
    """

    def __init__(self, name: str, stream: Any = None) -> None:
        self._name, self._given = name, stream

    @property
    def _stream(self) -> Any:
        return self._given or getattr(sys, self._name) or io.StringIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; returns its length, whatever became of it."""
        stream = self._stream
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(text.encode(encoding, "tutelage.plain").decode(encoding))
        except OSError as error:
            self._give_up(stream, error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        stream = self._stream
        try:
            stream.flush()
        except OSError as error:
            self._give_up(stream, error)

    def _give_up(self, stream: Any, error: OSError) -> None:
        with suppress(OSError, ValueError):  # what is left in its buffer goes there as well
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()
        if error.errno != errno.EPIPE and self._name != "stderr":
            with suppress(OSError):
                print(f"tutelage: cannot print any more ({error.strerror}); the work goes on", file=sys.stderr)


@contextmanager
def lasting() -> Iterator[None]:
    """Standard output and error that never raise within."""
    old = sys.stdout, sys.stderr
    streams = [Lasting(name, stream or io.StringIO()) for name, stream in zip(("stdout", "stderr"), old, strict=True)]
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = old
