"""Shards that any number of processes make together, of one launch or many, on one machine or several.

They communicate through the folder alone, so that each may join or die at any moment:

    FOLDER/.pass/                               while the labelling is unfinished
      .train-000007.tar.lease-000001            who makes the shard (trainer/runs/lease.py)
      train-000007.tar.json                     sizes and times of its files when they were last known to be whole

A shard that exists without such a note, or whose files have changed since, is compared with its hash before it counts,
by the process that gets its lease.
"""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from shards.manifest import index_name
from shards.write import whole_index
from trainer.runs.lease import Lease, LeaseLost, Seeker

POLL = 0.5
"""Seconds between checks of the progress of other processes."""
_PASS = ".pass"


class SharedShards:
    """The shards of a folder that are not known to be whole. A context manager that releases leases.

    Args:
        folder: the shards' folder.
        names: the names of all shards.
        check: raises when the folder belongs to another job by now.
    """

    def __init__(self, folder: Path, names: Sequence[str], check: Callable[[], None] = lambda: None) -> None:
        self.folder, self.check, self._notes = folder, check, folder / _PASS
        first = secrets.randbelow(len(names))  # otherwise all processes would try the same shards in turn
        self._pending = {name: Seeker(self._notes, name) for name in [*names[first:], *names[:first]]}
        self._leases: set[Lease] = set()

    @property
    def remaining(self) -> int:
        """The number of shards that were not whole when last checked."""
        return len(self._pending)

    def next_after(self, name: str, count: int) -> list[str]:
        """Return the next remaining shards after one."""
        names = list(self._pending)
        start = names.index(name) + 1 if name in self._pending else 0
        return names[start : start + count]

    def known_whole(self) -> list[str]:
        """Return the shards that are noted as whole."""
        return [name for name in self._pending if self._is_noted(name)]

    def take(self) -> Iterator[tuple[str, Lease | None]]:
        """Check every remaining shard once.

        Yields:
            Each shard that is whole, with None, and each shard that no process makes, with its lease, for the caller to
            :meth:`write`.
        """
        self._open()
        for name, seeker in list(self._pending.items()):
            lease = None
            if not self._is_noted(name):
                try:
                    lease = seeker.try_take()
                except FileNotFoundError:  # all is done, or the folder belongs to another job now
                    return
                if lease is None:
                    continue
                self._leases.add(lease)
                self.check()
                if self._is_noted(name) or self._check_whole(name):
                    self._release(lease)
                    lease = None
            if lease is None:
                del self._pending[name]
            yield name, lease

    def write(self, name: str, lease: Lease, write: Callable[[], object]) -> None:
        """Write a shard and release its lease. Does nothing when another process has the lease.

        Args:
            write: raises :class:`LeaseLost`, by ``lease.check``, instead of giving a file its final name.
        """
        try:
            lease.check()
            write()
            self._note(name)
        except LeaseLost:
            pass  # the other process writes the same bytes
        except OSError:
            if lease.is_held():
                raise  # otherwise its temporary file was swept
        finally:
            self._release(lease)

    def run_once(self, name: str, done: Callable[[], bool], do: Callable[[Callable[[], None]], object]) -> None:
        """Have one process run ``do`` when all shards are whole, and wait until it is done.

        Args:
            name: the name of the lease under which it runs.
            done: whether it is done.
            do: called with a function that raises :class:`LeaseLost` when another process has taken over.
        """
        seeker = Seeker(self._notes, name)
        while not done():
            self._open()
            with suppress(FileNotFoundError, LeaseLost):  # another process did it, and tidied up
                lease = seeker.try_take()
                if lease is None:
                    time.sleep(POLL)
                    continue
                with lease:
                    self.check()
                    if not done():
                        do(lease.check)
        self.check()  # it may be done for another job that owns the folder by now

    def __enter__(self) -> "SharedShards":
        return self

    def __exit__(self, *_: object) -> None:
        for lease in list(self._leases):
            self._release(lease)

    def _open(self) -> None:
        self.check()
        self._notes.mkdir(exist_ok=True)

    def _release(self, lease: Lease) -> None:
        lease.release()
        self._leases.discard(lease)

    def _files(self, name: str) -> list[Path]:
        return [self.folder / name, self.folder / index_name(name)]

    def _stamp(self, name: str) -> list[list[int]]:
        return [[stat.st_size, stat.st_mtime_ns] for stat in (file.stat() for file in self._files(name))]

    def _is_noted(self, name: str) -> bool:
        try:
            return json.loads((self._notes / f"{name}.json").read_bytes()) == self._stamp(name)
        except (FileNotFoundError, ValueError):
            return False

    def _note(self, name: str) -> None:
        with suppress(FileNotFoundError):  # the pass was finished and tidied up meanwhile
            (self._notes / f"{name}.json").write_text(json.dumps(self._stamp(name)), encoding="utf-8")

    def _check_whole(self, name: str) -> bool:
        """Whether a shard of unknown state is whole. Its lease is held, so no other process writes it."""
        for file in self._files(name):
            for leftover in file.parent.glob(f".{file.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
        if whole_index(self.folder / name) is None:
            return False
        self._note(name)
        return True


def tidy(folder: Path) -> None:
    """Remove the files of a finished pass, atomically for processes that still check them."""
    stale = folder / f"{_PASS}.{secrets.token_hex(4)}.tmp"
    with suppress(OSError):  # another process was faster, or the folder is read-only
        (folder / _PASS).rename(stale)
        shutil.rmtree(stale)
