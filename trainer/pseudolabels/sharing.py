"""Shards that any number of processes make together, of one launch or of many, on one machine or several.

They meet only in the folder, so that each may join or die at any moment:

    FOLDER/.pass/                               while there is something to do
      .train-000007.tar.lease-000001            who makes the shard (trainer/runs/lease.py)
      train-000007.tar.json                     sizes and times of its files when they were last known to be whole

A shard that is there without such a note, or whose files have changed since, is read and compared with its hash
before it counts, by whoever gets its lease.
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
"""Seconds between looks at what other processes do."""
_PASS = ".pass"


class SharedShards:
    """The shards of a folder that are not known to be whole. A context manager that gives leases back.

    Args:
        folder: the shards'.
        names: of all of them.
        check: raises when the folder is not this job's any more.
    """

    def __init__(self, folder: Path, names: Sequence[str], check: Callable[[], None] = lambda: None) -> None:
        self.folder, self.check, self._notes = folder, check, folder / _PASS
        first = secrets.randbelow(len(names))  # else all would ask for the same shards, one after another
        self._left = {name: Seeker(self._notes, name) for name in [*names[first:], *names[:first]]}
        self._held: set[Lease] = set()

    @property
    def left(self) -> int:
        """How many shards were not whole when they were last looked at."""
        return len(self._left)

    def after(self, name: str, count: int) -> list[str]:
        """The next ones of those that are left."""
        names = list(self._left)
        at = names.index(name) + 1 if name in self._left else 0
        return names[at : at + count]

    def noted(self) -> list[str]:
        """The shards that are known to be whole."""
        return [name for name in self._left if self._noted(name)]

    def take(self) -> Iterator[tuple[str, Lease | None]]:
        """One look at every shard that is left.

        Yields:
            Those that are found whole, with None; and those that nobody makes, with their lease: they are the caller's
            to :meth:`write`.
        """
        self._open()
        for name, seeker in list(self._left.items()):
            lease = None
            if not self._noted(name):
                try:
                    lease = seeker.try_take()
                except FileNotFoundError:  # all is done, or the folder belongs to another job now
                    return
                if lease is None:
                    continue
                self._held.add(lease)
                self.check()
                if self._noted(name) or self._whole(name):
                    self._give_back(lease)
                    lease = None
            if lease is None:
                del self._left[name]
            yield name, lease

    def write(self, name: str, lease: Lease, write: Callable[[], object]) -> None:
        """Write a shard and give its lease back. Does nothing when another process has its lease by now.

        Args:
            write: raises :class:`LeaseLost` instead of giving a file its final name, by ``lease.check``.
        """
        try:
            lease.check()
            write()
            self._note(name)
        except LeaseLost:
            pass  # the other one writes the same bytes
        except OSError:
            if lease.held():
                raise  # else its temporary file was swept
        finally:
            self._give_back(lease)

    def once(self, name: str, done: Callable[[], bool], do: Callable[[Callable[[], None]], object]) -> None:
        """Have one process do something when all shards are whole, and wait until it is done.

        Args:
            done: whether it is.
            do: is called with what raises :class:`LeaseLost` when another process does it by now.
        """
        seeker = Seeker(self._notes, name)
        while not done():
            self._open()
            with suppress(FileNotFoundError, LeaseLost):  # someone else did it, and tidied up
                lease = seeker.try_take()
                if lease is None:
                    time.sleep(POLL)
                    continue
                with lease:
                    self.check()
                    if not done():
                        do(lease.check)
        self.check()  # or it is done for another job, to which the folder belongs by now

    def __enter__(self) -> "SharedShards":
        return self

    def __exit__(self, *_: object) -> None:
        for lease in list(self._held):
            self._give_back(lease)

    def _open(self) -> None:
        self.check()
        self._notes.mkdir(exist_ok=True)

    def _give_back(self, lease: Lease) -> None:
        lease.release()
        self._held.discard(lease)

    def _files(self, name: str) -> list[Path]:
        return [self.folder / name, self.folder / index_name(name)]

    def _stamp(self, name: str) -> list[list[int]]:
        return [[stat.st_size, stat.st_mtime_ns] for stat in (file.stat() for file in self._files(name))]

    def _noted(self, name: str) -> bool:
        try:
            return json.loads((self._notes / f"{name}.json").read_bytes()) == self._stamp(name)
        except (FileNotFoundError, ValueError):
            return False

    def _note(self, name: str) -> None:
        with suppress(FileNotFoundError):  # all was found whole meanwhile
            (self._notes / f"{name}.json").write_text(json.dumps(self._stamp(name)), encoding="utf-8")

    def _whole(self, name: str) -> bool:
        """Whether a shard of unknown state is whole. Its lease is held, so nobody else is writing it."""
        for file in self._files(name):
            for leftover in file.parent.glob(f".{file.name}.*.tmp"):
                leftover.unlink(missing_ok=True)
        if whole_index(self.folder / name) is None:
            return False
        self._note(name)
        return True


def tidy(folder: Path) -> None:
    """Remove what processes left in a folder where all is done, at once for those that still look."""
    doomed = folder / f"{_PASS}.{secrets.token_hex(4)}.tmp"
    with suppress(OSError):  # another one was faster, or the folder is read-only
        (folder / _PASS).rename(doomed)
        shutil.rmtree(doomed)
