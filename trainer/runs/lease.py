"""A lease of a folder, or of one name in it, that works across clusters and never outlives its holder.

    FOLDER/.NAME.lease-000007    who holds it (JSON), touched by the holder every ``BEAT`` seconds

A holder's number is one above its predecessor's. The file is created exclusively, so only one of several processes
that want the same number gets it, on NFS too; it then removes its predecessors' files. The newest file is never
removed, and a released lease keeps it (with the epoch as its time), so numbers never decrease: a writer that slept
while others held the lease finds a higher number when it wakes, and knows that it must not write.

A holder is dead when its process has ended, which is known at once on its own machine, or when its file has not been
touched during ``LIMIT`` seconds of watching. Only changes of its time count, since two machines' clocks differ. A
holder from an earlier start of the same Slurm job counts as dead though it may live: it is locked out, and gets one
``BEAT`` to finish what it may be writing.
"""

import errno
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.atomic import disk_errors
from shards.errors import UserError
from trainer.runs.holder import Holder, describe, has_ended, identity, is_superseded

BEAT = 2.0
LIMIT = 20.0
"""Both in seconds, and the same in all processes, since these rely on each other."""


class LeaseLost(UserError):
    """Another process holds the lease now, or its file was removed: this process must not write any more."""


class Lease:
    """A lease that this process holds until it releases it, ends, or sleeps for too long. A context manager.

    Created by :meth:`take` or :meth:`Seeker.try_take`.
    """

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self.folder, self.name, self.number = folder, name, number
        self.path = folder / f".{name}.lease-{number:06d}"

    @classmethod
    def take(cls, folder: Path, name: str = "run", *, log: Callable[[str], None] = lambda line: None) -> "Lease":
        """Take a lease, at once or after the ``LIMIT`` that it takes to find its holder dead.

        Args:
            folder: created if necessary.
            name: the lease's name, since a folder may have several.
            log: called with a line about the reason of a long wait.

        Raises:
            UserError: when another process holds it, after about one ``BEAT``; or the folder cannot be written.
        """
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        seeker, start, logged = Seeker(folder, name), time.monotonic(), False
        while (lease := seeker.try_take()) is None:
            if seeker.beats:
                hint = "wait until it ends, or stop it"
                raise UserError(f"is in use by {describe(seeker.holder)}", file=folder, hint=hint)
            if not logged and time.monotonic() - start > 1.5 * BEAT:
                log(f"{folder}: waiting {LIMIT:.0f} s for a sign of life of {describe(seeker.holder)}")
                logged = True
            time.sleep(BEAT / 20)
        return lease

    def check(self) -> None:
        """Check that the lease is still held; to be called right before a write.

        Raises:
            LeaseLost: when it is not.
        """
        newest = _newest(self.folder, self.name)
        if newest > self.number:
            holder = _read(Lease(self.folder, self.name, newest).path)[0]
            hint = "leave it to that process, or stop it and start this one again"
            raise LeaseLost(f"was taken over by {describe(holder)}", file=self.folder, hint=hint)
        if newest < self.number or self not in _heartbeat:
            hint = "start the same command again"
            raise LeaseLost("is no longer held by this process", file=self.folder, hint=hint)

    def is_held(self) -> bool:
        """Whether :meth:`check` passes."""
        try:
            self.check()
        except LeaseLost:
            return False
        return True

    def release(self) -> None:
        """Release the lease. Does nothing when it was released or lost before."""
        _heartbeat.remove(self)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Seeker:
    """Tries to take one lease, and tracks its holder's heartbeat, so that repeated tries can find the holder dead.

    Attributes:
        holder: the holder at the last try, None if unknown.
        beats: how many heartbeats of that holder were observed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.holder: Holder | None = None
        self.beats = 0
        self._last_beat: tuple[int, int] | None = None
        self._displaces = False
        self._last_look = self._silence = 0.0

    def try_take(self) -> Lease | None:
        """Return the lease, or None while another process holds it or may hold it.

        Raises:
            FileNotFoundError: when the folder does not exist.
            UserError: when the folder cannot be written.
        """
        newest = _newest(self.folder, self.name)
        if newest and not self._is_free(newest):
            return None
        lease = Lease(self.folder, self.name, newest + 1)
        with disk_errors(self.folder):
            if not _create(lease.path, json.dumps(identity()).encode()):
                return None
        if _newest(self.folder, self.name) > lease.number:  # others took and released it since the first look
            lease.path.unlink(missing_ok=True)
            return None
        for number in _numbers(self.folder, self.name):
            if number < lease.number:
                Lease(self.folder, self.name, number).path.unlink(missing_ok=True)
        _heartbeat.add(lease)
        if self._displaces:
            time.sleep(BEAT)
        return lease

    def _is_free(self, number: int) -> bool:
        self.holder, beat = _read(Lease(self.folder, self.name, number).path)
        if beat == _RELEASED or (self.holder is not None and has_ended(self.holder)):
            return True
        if self.holder is not None and is_superseded(self.holder):
            self._displaces = True
            return True
        now, current = time.monotonic(), (number, beat)
        if current == self._last_beat:
            # only time that was watched counts: this process may have been asleep itself, and all the others too
            self._silence += min(now - self._last_look, BEAT)
        else:
            same = self._last_beat is not None and self._last_beat[0] == number
            self.beats, self._silence = (self.beats + 1 if same else 0), 0.0
        self._last_beat, self._last_look = current, now
        return self._silence > LIMIT


@contextmanager
def hold_lease(folder: Path, name: str, *, log: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Wait for a lease, however long others hold it, and hold it inside the context.

    Args:
        folder: an existing folder.
        name: the lease's name.
        log: called with a line about the present holder, if the wait is long.

    Raises:
        FileNotFoundError: when the folder does not exist.
        UserError: when the folder cannot be written.
    """
    seeker, logged = Seeker(folder, name), False
    while (lease := seeker.try_take()) is None:
        if seeker.beats and not logged:
            log(f"{folder}: waiting for {describe(seeker.holder)}")
            logged = True
        time.sleep(BEAT / 40)
    with lease:
        yield


class _Heartbeat:
    """Touches the files of all leases that this process holds, in one thread that runs as long as there are any."""

    def __init__(self) -> None:
        self._leases: set[Lease] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __contains__(self, lease: Lease) -> bool:
        return lease in self._leases

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def remove(self, lease: Lease) -> None:
        with self._lock:  # otherwise a beat in progress could follow
            if lease in self._leases:
                self._leases.remove(lease)
                self._touch(lease, (_RELEASED, _RELEASED))

    def _run(self) -> None:
        while True:
            time.sleep(BEAT)
            with self._lock:
                self._leases -= {lease for lease in self._leases if not self._touch(lease)}
                if not self._leases:
                    self._thread = None
                    return

    def _touch(self, lease: Lease, times: tuple[int, int] | None = None) -> bool:
        """Update the time of a lease's file, and return whether the lease may still be held."""
        try:
            os.utime(lease.path, ns=times) if times else os.utime(lease.path)
        except FileNotFoundError:
            return False  # a successor removed it
        except OSError:
            pass  # an unreachable network disk, which may come back
        return True


def _create(path: Path, content: bytes) -> bool:
    """Create a file with its content at once, and return whether it did: linking fails where the name is taken."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        draft.write_bytes(content)
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        return _create_without_links(path, content)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _create_without_links(path: Path, content: bytes) -> bool:
    """Create a file exclusively. A holder that dies before the content is written can only be found by its silence."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


_RELEASED = 0
_heartbeat = _Heartbeat()


def _numbers(folder: Path, name: str) -> list[int]:
    pattern = re.compile(rf"\.{re.escape(name)}\.lease-(\d+)")
    with os.scandir(folder) as entries:  # on NFS, opening the folder refreshes its entries from the server
        return [int(match[1]) for entry in entries if (match := pattern.fullmatch(entry.name))]


def _newest(folder: Path, name: str) -> int:
    try:
        return max(_numbers(folder, name), default=0)
    except FileNotFoundError:
        return 0


def _read(path: Path) -> tuple[Holder | None, int]:
    """Read a lease's holder, None while it has not written its name or when it was replaced, and its last beat."""
    try:
        with path.open("rb") as file:
            return json.loads(file.read() or b"null"), os.fstat(file.fileno()).st_mtime_ns
    except (FileNotFoundError, ValueError):
        return None, -1
