"""A cache of a store's files on this node's disk: a folder that all its processes share, within a size limit.

    CACHE/
      SHA256                 a complete file, named by its hash in the manifest, which was verified when it arrived
      .SHA256.lock .part     a file that is being fetched; the lock's size is the room reserved for it
      .NAME.plan             what a process will need, soonest first (shards/cacheplan.py)
      .lock                  held briefly by the process that makes room

All locks are the kernel's (``flock``), which releases them when their holder ends, even by ``kill -9``; what the holder
left is removed by the next process that makes room. A file is fetched by one process while others that want it wait.
To make room, files that no plan names are removed first, the least recently used first, then those that all plans need
last. A file is open only while bytes are read from it, so that a removed file does not keep filling the disk.
"""

import errno
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from shards.atomic import disk_errors
from shards.cacheplan import NO_PLANS, Plans, read_plans
from shards.errors import UserError
from shards.flock import Busy, hold_lock, hold_temporary_lock
from shards.store import Remote

LIMIT = 50_000_000_000
"""Default limit of a cache, in bytes."""
_HASH = re.compile(r"[0-9a-f]{64}")
_POLL = 0.05
_HINT = "set data.cache to a folder on a disk with room, and data.cache_size to what it may hold"
_failed: dict[tuple[Path, str], tuple[float, UserError]] = {}


@dataclass(frozen=True)
class Item:
    """A file of a store, identified by its hash. ``bytes`` is its size, None where only the hash is known."""

    remote: Remote
    sha256: str
    bytes: int | None = None

    def __post_init__(self) -> None:
        if not _HASH.fullmatch(self.sha256):  # the hash becomes a file name
            raise UserError("has no sha256 in the manifest", file=str(self.remote), hint="prepare the data set again")


def default_folder() -> Path:
    """Return ``$TUTELAGE_CACHE``, else, in a Slurm job, a temporary folder of the node, else the user's cache."""
    if folder := os.environ.get("TUTELAGE_CACHE"):
        return Path(folder)
    if "SLURM_JOB_ID" in os.environ:  # home folders of clusters are small, and often on a network themselves
        return Path(os.environ.get("SLURM_TMPDIR") or tempfile.gettempdir()) / f"tutelage-{os.getuid()}"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tutelage"


@dataclass(frozen=True)
class Cache:
    """The cache in a folder, which all processes of a node may share.

    Args:
        folder: a folder on a disk of this node; made when it is first needed. By default ``$TUTELAGE_CACHE``, else a
            temporary folder in a Slurm job, else the user's cache folder.
        limit: total size of its files, in bytes. While processes with plans share the folder, the largest of their
            limits applies to all.
    """

    folder: Path = field(default_factory=default_folder)
    limit: int = LIMIT

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))

    def open(self, item: Item) -> FileIO:
        """Open a file for reading, and fetch it if necessary. It stays complete even if it is removed meanwhile.

        Raises:
            UserError: when the store does not deliver it, or there is no room for it.
        """
        try:
            return self._path(item).open("rb", buffering=0)
        except FileNotFoundError:
            pass
        file = self._fetch(item)
        assert file is not None
        return file

    def read(self, item: Item) -> bytes:
        """Return all bytes of a file. Raises what :meth:`open` raises."""
        with self.open(item) as file:
            return file.readall()

    def has(self, item: Item) -> bool:
        return self._path(item).exists()

    def touch(self, item: Item) -> None:
        """Note that a file is in use."""
        with suppress(OSError):
            os.utime(self._path(item))

    def discard(self, item: Item) -> None:
        """Remove a file whose bytes have changed."""
        self._path(item).unlink(missing_ok=True)

    def fetch_ahead(self, item: Item, needed: int) -> bool:
        """Fetch a file before it is needed, unless another process is fetching it.

        Args:
            item: the file.
            needed: its place in this process's :class:`shards.cacheplan.FetchPlan`; what is needed before it is not
                evicted.

        Returns:
            False when there is no room for it.

        Raises:
            UserError: when the store does not deliver it.
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
        """Fetch a file. Without ``needed`` it may evict any file; else only files needed after ``needed``."""
        with disk_errors(self.folder):
            self._make_folder()
            started, key = time.monotonic(), (self.folder, item.sha256)
            with self._fetch_lock(item.sha256, wait=needed is None) as lock:
                with suppress(FileNotFoundError):  # the previous holder of the lock fetched it,
                    return self._path(item).open("rb", buffering=0)
                failed, error = _failed.get(key, (0.0, None))
                if error is not None and failed > started:  # or failed to
                    raise error
                try:
                    return self._download(item, needed, lock)
                except UserError as error:
                    _failed[key] = time.monotonic(), error
                    raise

    def _download(self, item: Item, needed: int | None, lock: int) -> FileIO | None:
        """Download a file under its fetch lock; None when there is no room for it."""
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
                os.ftruncate(lock, 0)
                with self._folder_lock():  # the disk or quota holds less than the limit
                    if not self._evict(size, self._scan()[0], {}, read_plans(self.folder), needed):
                        raise self._no_room(item, os.strerror(error.errno).lower()) from error
        if item.bytes is None and not self._reserve(item, part.stat().st_size, needed, lock):
            return None
        file = part.open("rb", buffering=0)
        part.rename(self._path(item))
        return file

    def _reserve(self, item: Item, size: int, needed: int | None, lock: int) -> bool:
        """Reserve room for a file, evicting others; False when there is none for a file fetched ahead."""
        while True:
            with self._folder_lock():
                files, pending, unwritten = self._scan()
                disk = os.statvfs(self.folder)
                free = disk.f_bavail * disk.f_frsize - unwritten
                used, plans, limit = sum(size for _, size, _ in files) + sum(pending.values()), NO_PLANS, self.limit
                if used + size > limit or size > free:
                    plans = read_plans(self.folder)
                    limit = max(limit, plans.limit)  # a process with a small limit keeps what others asked for
                room = max(used + size - limit, size - free)
                if size <= limit and self._evict(room, files, pending, plans, needed):
                    os.ftruncate(lock, size)
                    return True
            if needed is not None:
                return False
            if not pending or size > limit:
                raise self._no_room(item, f"it has {size} bytes, where {limit} are allowed and {free} free")
            time.sleep(_POLL)  # a file that is being fetched can be evicted once it is complete

    def _evict(
        self,
        room: int,
        files: Sequence[tuple[str, int, float]],
        pending: Mapping[str, int],
        plans: Plans,
        needed: int | None,
    ) -> bool:
        """Free ``room`` bytes by evicting files, or evict none and return False where that is impossible: when all
        files together are too small, or the next candidate is still being fetched, since a complete file that is
        needed sooner would have to be fetched again."""
        never = float("inf")
        candidates = [*files, *((name, size, time.time()) for name, size in pending.items())]
        evicted: list[str] = []
        for name, size, _ in sorted(candidates, key=lambda file: (-plans.places.get(file[0], never), file[2])):
            if room <= 0:
                break
            if name in pending or (needed is not None and plans.places.get(name, never) <= needed):
                return False
            evicted.append(name)
            room -= size
        if room > 0:
            return False
        for name in evicted:
            (self.folder / name).unlink(missing_ok=True)
        return True

    def _scan(self) -> tuple[list[tuple[str, int, float]], dict[str, int], int]:
        """Return the complete files (name, size, time), the bytes reserved for each that is being fetched, and how many
        of these bytes are not yet written. Removes what dead processes left."""
        files: list[tuple[str, int, float]] = []
        locks: dict[str, int] = {}
        parts: dict[str, int] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                name, _, suffix = entry.name.lstrip(".").partition(".")
                if _HASH.fullmatch(name):
                    with suppress(FileNotFoundError):
                        stat = entry.stat()
                        if not suffix:
                            files.append((name, stat.st_size, stat.st_mtime))
                        {"lock": locks, "part": parts}.get(suffix, {})[name] = stat.st_size
        for name in locks.keys() | parts.keys():
            with suppress(Busy), self._fetch_lock(name, wait=False):
                locks[name] = parts[name] = 0
        unwritten = sum(max(size - parts.get(name, 0), 0) for name, size in locks.items())
        return files, {name: size for name, size in locks.items() if size}, unwritten

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = self.folder.parent == Path(tempfile.gettempdir())
        if shared and self.folder.stat().st_uid != os.getuid():  # anybody can create a folder there
            raise UserError("belongs to another user", file=self.folder, hint="set data.cache to a folder of your own")

    def _no_room(self, item: Item, reason: str) -> UserError:
        return UserError(f"does not fit into the cache {self.folder} ({reason})", file=str(item.remote), hint=_HINT)

    def _folder_lock(self) -> AbstractContextManager[None]:
        """Hold the folder's lock, which is needed to evict files and to write plans."""
        return hold_lock(self.folder / ".lock")

    @contextmanager
    def _fetch_lock(self, name: str, wait: bool) -> Iterator[int]:
        """Hold the lock to fetch a file, and yield its descriptor. Raises :class:`shards.flock.Busy`."""
        path = self.folder / f".{name}.lock"
        with hold_temporary_lock(path, wait) as lock:
            try:
                yield lock
            finally:
                path.with_suffix(".part").unlink(missing_ok=True)
