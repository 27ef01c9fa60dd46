"""Which file wrote a configuration's value, so that errors name the file to correct and later files decide."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from trainer.option import is_in


class Origins:
    """The layers that a configuration is merged from, and what each of them writes.

    Args:
        layers: files with the dotted keys that they write; later ones win. Layers of one file, such as the overrides
            of a command, have no order among themselves.
        default: the file that stands for options that no layer writes.
    """

    def __init__(self, layers: Sequence[tuple[str | Path, Iterable[str]]], default: Path) -> None:
        self._files = [file for file, _ in layers]
        self._written = [(file, key) for file, keys in layers for key in keys]
        self._default = default

    def file(self, key: str) -> str | Path:
        """Return the file that wrote an option, an entry of it or the section that it is in last."""
        return next((file for file, written in reversed(self._written) if _overlap(written, key)), self._default)

    def is_later(self, key: str, other: str) -> bool:
        """Whether an option was last written by a later layer than another one."""
        return self._last(key) > self._last(other)

    def _last(self, key: str) -> int:
        return max((self._files.index(file) for file, written in self._written if _overlap(written, key)), default=-1)


def _overlap(written: str, key: str) -> bool:
    return is_in(written, [key]) or is_in(key, [written])
