"""Locks of the kernel on files of this node: it lifts them when their holder ends, by ``kill -9`` as well."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shards.errors import UserError


class Busy(Exception):
    """Another thread or process has the lock."""


def take(descriptor: int, wait: bool = True) -> bool:
    """Lock a file; whether that was possible without waiting, where that is asked.

    Raises:
        UserError: when its disk has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        hint = "set data.cache to a folder on a disk of this node"
        raise UserError("the cache's disk has no locks", key="data.cache", hint=hint) from error
    return True


def give_back(descriptor: int) -> None:
    """Unlock a file at once: that it is closed is not enough where a forked process has it too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for a lock, and hold it for a block. Its file stays."""
    with path.open("ab") as file:
        take(file.fileno())
        try:
            yield
        finally:
            give_back(file.fileno())


@contextmanager
def turn(path: Path, wait: bool) -> Iterator[int]:
    """Hold the lock of a file that is there only as long as somebody holds it; gives its descriptor, and an empty file.

    Raises:
        Busy: when another one holds it, and ``wait`` is False.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        taken = False
        try:
            if not take(lock, wait):
                raise Busy
            with suppress(FileNotFoundError):
                taken = os.fstat(lock).st_ino == path.stat().st_ino  # else the one before removed it
        finally:
            if not taken:
                os.close(lock)
        if taken:
            break
    try:
        os.ftruncate(lock, 0)
        yield lock
    finally:
        path.unlink(missing_ok=True)
        give_back(lock)
        os.close(lock)
