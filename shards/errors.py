"""The error that users see as one line instead of a traceback."""

from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shards.store import Remote


class UserError(Exception):
    """Something that the user can mend: bad data, a bad option, a full disk.

    Its text is one line, ``FILE: KEY: what is wrong; hint``, with the parts that are known. The commands
    print it and exit with status 1 (a traceback follows only under ``--debug``).

    Args:
        what: what is wrong, without a final stop.
        file: the file, folder or shard concerned.
        key: the sample, configuration key or tar member concerned.
        hint: what to do about it, in the imperative.
    """

    def __init__(
        self,
        what: str,
        *,
        file: "str | PathLike[str] | Remote | None" = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.file, self.key, self.hint = what, file, key, hint
        place = [str(part) for part in (file, key) if part is not None]
        super().__init__(": ".join([*place, what]) + (f"; {hint}" if hint else ""))

    def __reduce__(self) -> tuple[Any, ...]:  # the default pickling loses keyword-only arguments
        return (_rebuild, (type(self), self.what, self.file, self.key, self.hint))


class BadFile(UserError):
    """A file that cannot be read or decoded, while the others may be intact."""


class OwnCodeError(UserError):
    """An exception in a user's own code, which is the cause of this one."""


def _rebuild(kind: type[UserError], what: str, file: Any, key: str | None, hint: str | None) -> UserError:
    return kind(what, file=file, key=key, hint=hint)
