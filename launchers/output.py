"""Output streams that never raise: not for characters that cannot be encoded, a closed pipe, or a full disk."""

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


def encode_plain(error: UnicodeError) -> tuple[str, int]:
    """Handle encoding errors of ``codecs``: ASCII for the signs of ``_PLAIN``, else ``\\xNN`` or ``\\uNNNN``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    replacement = "".join(_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in text)
    return replacement, error.end


codecs.register_error("tutelage.plain", encode_plain)


class SafeStream:
    """Standard output or error that never raises. Characters that cannot be encoded are replaced
    (:func:`encode_plain`), and once writing fails, all further output is discarded. A closed pipe (``| head``) is
    ignored; any other reason, such as a full disk, is reported once on standard error.

    Args:
        name: ``stdout`` or ``stderr``, as in ``sys``.
        stream: the stream; None for the one that ``sys`` has at the time of writing.
    """

    def __init__(self, name: str, stream: Any = None) -> None:
        self._name, self._fixed = name, stream

    @property
    def _stream(self) -> Any:
        return self._fixed or getattr(sys, self._name) or io.StringIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, and return its length whether or not it could be written."""
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
        with suppress(OSError, ValueError):  # so that what remains in its buffer is discarded as well
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()
        if error.errno != errno.EPIPE and self._name != "stderr":
            with suppress(OSError):
                print(f"tutelage: cannot print any more ({error.strerror}); the work goes on", file=sys.stderr)


@contextmanager
def safe_output() -> Iterator[None]:
    """Context in which standard output and error never raise."""
    old = sys.stdout, sys.stderr
    names = ("stdout", "stderr")
    streams = [SafeStream(name, stream or io.StringIO()) for name, stream in zip(names, old, strict=True)]
    sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = old
