"""Kernel locks (``flock``) on files of this node, which are released when their holder ends, even by ``kill -9``."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shards.errors import UserError


class Busy(Exception):
    """Another thread or process holds the lock."""


def acquire(descriptor: int, wait: bool = True) -> bool:
    """Lock a file; without ``wait``, return False when another thread or process holds the lock.

    Raises:
        UserError: when the disk does not support locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        hint = "set data.cache to a folder on a disk of this node"
        raise UserError("the cache's disk does not support locks", key="data.cache", hint=hint) from error
    return True


def release(descriptor: int) -> None:
    """Unlock a file at once: closing it is not enough where a forked process has it open too."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Wait for the lock of a file, and hold it for the block. The file is not removed."""
    with path.open("ab") as file:
        acquire(file.fileno())
        try:
            yield
        finally:
            release(file.fileno())


@contextmanager
def hold_temporary_lock(path: Path, wait: bool) -> Iterator[int]:
    """Hold, for the block, the lock of a file that exists only while the lock is held.

    Yields:
        The descriptor of the file, which is empty.

    Raises:
        Busy: when another thread or process holds it, and ``wait`` is False.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        current = False
        try:
            if not acquire(lock, wait):
                raise Busy
            with suppress(FileNotFoundError):
                # otherwise the previous holder has removed this file
                current = os.fstat(lock).st_ino == path.stat().st_ino
        finally:
            if not current:
                os.close(lock)
        if current:
            break
    try:
        os.ftruncate(lock, 0)
        yield lock
    finally:
        path.unlink(missing_ok=True)
        release(lock)
        os.close(lock)
