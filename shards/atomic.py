"""Files and folders that appear whole or not at all.

Everything is written under a temporary name next to its final one (``.NAME.RANDOM.tmp``), synced to the disk, and
renamed. What a killed process leaves behind has a temporary name, is never read, and is removed by :func:`sweep` when
the same job starts again.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from shards.errors import UserError

if TYPE_CHECKING:
    from shards.store import Remote


def _temporary_path(path: Path) -> Path:
    # random and not the process id, which two machines that share a disk may both use
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a disk that the user can mend, such as a full or read-only one, into a :class:`UserError`."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "free some space and start the same command again",
            errno.EDQUOT: "free some of your quota and start the same command again",
            errno.EROFS: "choose a folder that can be written",
            errno.EACCES: "choose a folder that you may write",
            errno.EISDIR: "choose another name: this one is a folder",
            errno.ENAMETOOLONG: "choose a shorter name",
        }
        if error.errno not in hints:
            raise
        message = f"cannot be written ({os.strerror(error.errno).lower()})"
        raise UserError(message, file=path, hint=hints[error.errno]) from error


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file for writing, which takes its final name when the block ends without an exception.

    Raises:
        UserError: when the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = _temporary_path(path)
    with disk_errors(path):
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder that takes its final name, all its files synced, when the block ends without an exception.

    A folder that already has the name is replaced.
    """
    path = Path(path)
    temporary = _temporary_path(path)
    with disk_errors(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for file in temporary.rglob("*"):
                _sync(file)
            _sync(temporary)
            if path.exists():  # a rename cannot replace a folder that holds files
                replaced = _temporary_path(path)
                path.rename(replaced)
                temporary.rename(path)
                shutil.rmtree(replaced)
            else:
                temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(path.parent)


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file atomically: keys in the order given, a final newline, no NaN."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, indent=indent, separators=separators, allow_nan=False, ensure_ascii=False)
    with atomic_file(path) as file:
        # surrogates stand for bytes of file names that are not UTF-8; json.loads reads them back
        file.write(text.encode(errors="surrogatepass") + b"\n")


def read_json(path: str | os.PathLike[str], hint: str) -> Any:
    """Read a JSON file.

    Raises:
        UserError: when it is missing or not valid JSON, with the given hint.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError("does not exist", file=path, hint=hint) from None
    except OSError as error:
        permissions = "change its permissions, or restore it"
        raise UserError(f"cannot be read ({error.strerror})", file=path, hint=permissions) from error
    return parse_json(data, path, hint)


def parse_json(data: bytes, path: "str | os.PathLike[str] | Remote", hint: str) -> Any:
    """Parse the bytes of a JSON file.

    Raises:
        UserError: when they are not valid JSON, with the given hint.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"cannot be read ({error})", file=path, hint=hint) from error


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what killed writers left in ``folder``. Call it only while no other process writes there."""
    for leftover in Path(folder).glob(".*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
