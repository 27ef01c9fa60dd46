"""Files of a store on this node's disk: a folder that all its processes share, within a limit.

    CACHE/
      SHA256                 a whole file under the hash that the manifest gives it: it was compared when it arrived
      .SHA256.lock .part     one that is being fetched; the lock's size is the room that is kept for it
      .NAME.plan             what a process will need, soonest first (shards/prefetch.py)
      .lock                  held for a moment by whoever makes room

All locks are the kernel's (``flock``), which it lifts when their holder ends, by ``kill -9`` as well; what the holder
left is removed by whoever makes room next. A file is fetched by one process while others that want it wait. Room is
made by removing what all plans need last, and first of all what none of them names, longest unused first. A file is
open only while bytes are read from it, so that nothing that was removed goes on to fill the disk.
"""

import errno
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from shards.atomic import disk_errors
from shards.errors import UserError
from shards.flock import Busy, give_back, held, take, turn
from shards.store import Remote

LIMIT = 50_000_000_000
"""Bytes of a cache where none are given."""
_HASH = re.compile(r"[0-9a-f]{64}")
_POLL = 0.05
_CURE = "set data.cache to a folder on a disk with room, and data.cache_size to what it may hold"
_failed: dict[tuple[Path, str], tuple[float, UserError]] = {}


@dataclass(frozen=True)
class Item:
    """A file of a store, by what it holds. ``bytes`` is None where only the hash is known."""

    remote: Remote
    sha256: str
    bytes: int | None = None

    def __post_init__(self) -> None:
        if not _HASH.fullmatch(self.sha256):  # it names a file
            raise UserError("has no sha256 in the manifest", file=str(self.remote), hint="prepare the data set again")


def default_folder() -> Path:
    """``$TUTELAGE_CACHE``; or else, in a Slurm job, a folder of its node's temporary ones; or else the user's cache."""
    if named := os.environ.get("TUTELAGE_CACHE"):
        return Path(named)
    if "SLURM_JOB_ID" in os.environ:  # home folders of clusters are small, and on a network too
        return Path(os.environ.get("SLURM_TMPDIR") or tempfile.gettempdir()) / f"tutelage-{os.getuid()}"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tutelage"


@dataclass(frozen=True)
class Cache:
    """The cache in a folder, which all processes of a node may share.

    Args:
        folder: on a disk of this node; made when it is first needed. By default ``$TUTELAGE_CACHE``, or a temporary one
            in a Slurm job, or the user's.
        limit: bytes that its files may have together.
    """

    folder: Path = field(default_factory=default_folder)
    limit: int = LIMIT

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    def open(self, item: Item) -> FileIO:
        """A file, fetched if need be, for reading. It is whole whatever becomes of its name.

        Raises:
            UserError: when the store does not give it, or there is no room for it.
        """
        try:
            return self._path(item).open("rb", buffering=0)
        except FileNotFoundError:
            pass
        file = self._fetch(item)
        assert file is not None
        return file

    def read(self, item: Item) -> bytes:
        """All bytes of a file. Raises what :meth:`open` raises."""
        with self.open(item) as file:
            return file.readall()

    def has(self, item: Item) -> bool:
        return self._path(item).exists()

    def touch(self, item: Item) -> None:
        """Note that a file is in use."""
        with suppress(OSError):
            os.utime(self._path(item))

    def discard(self, item: Item) -> None:
        """Remove a file that is not what it was any more."""
        self._path(item).unlink(missing_ok=True)

    def fetch_ahead(self, item: Item, needed: int) -> bool:
        """Fetch a file before it is needed, unless another process does.

        Args:
            needed: where it stands in this process's :class:`Plan`; what is needed before it stays.

        Returns:
            False when there is no room for it.

        Raises:
            UserError: when the store does not give it.
        """
        if self.has(item):
            return True
        with suppress(Busy):
            file = self._fetch(item, needed)
            if file is None:
                return False
            file.close()
        return True

    def _path(self, item: Item) -> Path:
        return self.folder / item.sha256

    def _fetch(self, item: Item, needed: int | None = None) -> FileIO | None:
        """Whoever waits has a right to any room; whoever fetches ahead, only to what is needed after ``needed``."""
        with disk_errors(self.folder):
            self._make_folder()
            began, key = time.monotonic(), (self.folder, item.sha256)
            with self._turn(item.sha256, wait=needed is None) as lock:
                with suppress(FileNotFoundError):  # whoever had the turn before fetched it,
                    return self._path(item).open("rb", buffering=0)
                when, error = _failed.get(key, (0.0, None))
                if error is not None and when > began:  # or could not
                    raise error
                try:
                    return self._fetched(item, needed, lock)
                except UserError as error:
                    _failed[key] = time.monotonic(), error
                    raise

    def _fetched(self, item: Item, needed: int | None, lock: int) -> FileIO | None:
        part = self.folder / f".{item.sha256}.part"
        while True:
            if item.bytes is not None and not self._reserve(item, item.bytes, needed, lock):
                return None
            try:
                item.remote.fetch(part, item.sha256, item.bytes)
                break
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                size = item.bytes or part.stat().st_size
                part.unlink(missing_ok=True)
                with self._locked():  # a disk or quota that holds less than the limit
                    if not self._evict(size, self._look()[0], needed):
                        raise self._no_room(item, os.strerror(error.errno).lower()) from error
        if item.bytes is None and not self._reserve(item, part.stat().st_size, needed, lock):
            return None
        file = part.open("rb", buffering=0)
        part.rename(self._path(item))
        return file

    def _reserve(self, item: Item, size: int, needed: int | None, lock: int) -> bool:
        """Keep room for a file, once there is some."""
        while True:
            with self._locked():
                files, pending, unwritten = self._look()
                disk = os.statvfs(self.folder)
                free = disk.f_bavail * disk.f_frsize - unwritten
                over = sum(size for _, size, _ in files) + pending + size - self.limit
                if self._evict(max(over, size - free), files, needed):
                    os.ftruncate(lock, size)
                    return True
            if needed is not None:
                return False
            if not pending:
                raise self._no_room(item, f"it has {size} bytes, where {self.limit} are allowed and {free} free")
            time.sleep(_POLL)  # what others fetch can be removed when it is there

    def _evict(self, room: int, files: Sequence[tuple[str, int, float]], needed: int | None) -> bool:
        """Remove files until there is room."""
        if room <= 0:
            return True
        plans = self._plans()
        last = float("inf")
        order = sorted(files, key=lambda file: (-plans.get(file[0], last), file[2]))
        for name, size, _ in order:
            if needed is not None and plans.get(name, last) <= needed:
                return False
            (self.folder / name).unlink(missing_ok=True)
            room -= size
            if room <= 0:
                return True
        return False

    def _look(self) -> tuple[list[tuple[str, int, float]], int, int]:
        """Whole files with their sizes and times, the room that is kept for others, and how much of it is not written
        yet. Removes what dead processes left."""
        files: list[tuple[str, int, float]] = []
        locks: dict[str, int] = {}
        parts: dict[str, int] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                name, _, end = entry.name.lstrip(".").partition(".")
                if _HASH.fullmatch(name):
                    with suppress(FileNotFoundError):
                        stat = entry.stat()
                        if not end:
                            files.append((name, stat.st_size, stat.st_mtime))
                        {"lock": locks, "part": parts}.get(end, {})[name] = stat.st_size
        for name in locks.keys() | parts.keys():
            with suppress(Busy), self._turn(name, wait=False):
                locks[name] = parts[name] = 0
        unwritten = sum(max(size - parts.get(name, 0), 0) for name, size in locks.items())
        return files, sum(locks.values()), unwritten

    def _plans(self) -> dict[str, int]:
        """Where each file stands in the plan that needs it soonest. Removes plans of dead processes."""
        found: dict[str, int] = {}
        for path in self.folder.glob(".*.plan"):
            with suppress(FileNotFoundError, ValueError), path.open("r+b") as file:
                if take(file.fileno(), wait=False):
                    path.unlink(missing_ok=True)
                    continue
                for name, place in json.load(file):
                    found[name] = min(place, found.get(name, place))
        return found

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = self.folder.parent == Path(tempfile.gettempdir())
        if shared and self.folder.stat().st_uid != os.getuid():  # where anybody may make it first
            raise UserError("belongs to another user", file=self.folder, hint="set data.cache to a folder of your own")

    def _no_room(self, item: Item, why: str) -> UserError:
        return UserError(f"does not fit into the cache {self.folder} ({why})", file=str(item.remote), hint=_CURE)

    def _locked(self) -> AbstractContextManager[None]:
        """The right to make room, for a moment."""
        return held(self.folder / ".lock")

    @contextmanager
    def _turn(self, name: str, wait: bool) -> Iterator[int]:
        """The right to fetch a file, and the descriptor of its lock. Raises :class:`shards.flock.Busy`."""
        path = self.folder / f".{name}.lock"
        with turn(path, wait) as lock:
            try:
                yield lock
            finally:
                path.with_suffix(".part").unlink(missing_ok=True)


class Plan:
    """What this process needs of a cache, soonest first, for whoever makes room there."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._path = cache.folder / f".{os.getpid()}-{secrets.token_hex(4)}.plan"
        self._file: FileIO | None = None

    def write(self, items: Sequence[tuple[Item, int]]) -> None:
        """Replace the plan.

        Args:
            items: each with the number of bytes that are needed before it.
        """
        with disk_errors(self.cache.folder):
            self.cache._make_folder()
            with self.cache._locked():  # which all who read it hold
                if self._file is None:
                    self._file = self._path.open("wb", buffering=0)
                    take(self._file.fileno())
                self._file.seek(0)
                self._file.truncate()
                self._file.write(json.dumps([[item.sha256, place] for item, place in items]).encode())

    def close(self) -> None:
        """Need nothing any more."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            give_back(self._file.fileno())
            self._file.close()
            self._file = None
