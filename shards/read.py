"""Samples of a data set by position, with every byte checked before it is used.

A sample is one ``pread``, since its members are adjacent; the index holds its position and the checksum of each member.
Only members that the manifest's tasks allow are read.
"""

import os
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from shards.cache import Item
from shards.codec import decode_confidence
from shards.errors import UserError
from shards.index import HINT, read_index
from shards.manifest import Manifest, ShardInfo
from shards.members import PICTURES, decode_picture, picture_size
from shards.soft import MEMBER as SOFT
from shards.soft import decode_soft
from shards.tasks import Task
from shards.window import Window

CONFIDENCE = "conf"


def allowed_members(tasks: Collection[Task], kind: str = "frames", label_format: str = "png") -> frozenset[str]:
    """Return the extensions of members that a shard of these tasks may hold."""
    labels = {f"{task.name}.{label_format}" for task in tasks}
    if kind == "labels":
        soft = {f"{task.name}.{SOFT}.png" for task in tasks if task.storage.distribution}
        return frozenset(labels | soft | {f"{task.name}.{CONFIDENCE}.png" for task in tasks})
    return frozenset(labels | {"json"} | {f"rgb.{extension}" for extension in PICTURES})


def soft_classes(manifest: Manifest) -> dict[str, int]:
    """Return how many classes the soft labels of a manifest store, by task; tasks without soft labels are absent."""
    return {name: int(entry["classes"]) for name, entry in manifest.source.get(SOFT, {}).items()}


def check_files(manifest: Manifest, split: str) -> None:
    """Check that all shards of a split exist with their indexes and have the right size; of shards in a store, check 64
    that are evenly spread, and download the first for which it reports another size.

    Raises:
        UserError: naming the first that fails.
    """
    shards = manifest.splits.get(split, ())
    if manifest.remote:
        checked = [shards[len(shards) * part // 64] for part in range(64)] if len(shards) > 64 else shards
        with ThreadPoolExecutor(16) as pool:
            items = [item for item in pool.map(lambda shard: _other_size(manifest, shard), checked) if item]
        if items:  # not every server tells sizes rightly: the bytes themselves are checked when they arrive
            manifest.cache.open(items[0]).close()
        return
    assert isinstance(manifest.folder, Path)
    for shard in shards:
        for path in (manifest.folder / shard.file, manifest.folder / shard.index_file):
            if not path.is_file():
                raise UserError("is missing", file=path, hint=HINT)
        _check_size(manifest.folder / shard.file, (manifest.folder / shard.file).stat().st_size, shard)


def _other_size(manifest: Manifest, shard: ShardInfo) -> Item | None:
    """Return a shard of which a store reports another size than the manifest; None for others, and for those that the
    cache has. Raises a UserError where the shard or its index is missing."""
    index, tar = manifest.items(shard)
    if not manifest.cache.has(index):
        index.remote.size()
    return tar if not manifest.cache.has(tar) and tar.remote.size() not in (None, shard.bytes) else None


def _check_size(path: Path, size: int, shard: ShardInfo) -> None:
    if size != shard.bytes:
        message = f"has {size} bytes, where the manifest says {shard.bytes}: it is truncated or was replaced"
        raise UserError(message, file=path, hint=HINT)


class _ChecksumMismatch(Exception):
    """The bytes of a member are not those that were written."""

    def __init__(self, error: UserError) -> None:
        self.error = error


class ShardReader:
    """Random access to one shard.

    Args:
        manifest: the data set's manifest.
        shard: the shard's entry in it.

    Raises:
        UserError: when the shard or its index is missing, cannot be opened, or has another size or hash, or the index
            names a member that the manifest does not allow.
    """

    def __init__(self, manifest: Manifest, shard: ShardInfo) -> None:
        self.path = manifest.folder / shard.file
        self.tasks = {task.name: task for task in manifest.tasks}
        self.soft_classes = soft_classes(manifest) if manifest.kind == "labels" else {}
        self._samples = read_index(
            manifest, shard, allowed_members(manifest.tasks, manifest.kind, manifest.label_format)
        )
        self._cache = manifest.cache
        self._item = None
        if not isinstance(self.path, Path):  # its file is fetched at the first read
            self._item = manifest.items(shard)[1]
            self._cache.touch(self._item)
            return
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise UserError("is missing", file=self.path, hint=HINT) from None
        except OSError as error:
            hint = "restore the file, or its permissions"
            raise UserError(f"cannot be read ({error.strerror})", file=self.path, hint=hint) from error
        self.close = weakref.finalize(self, os.close, self._file)
        try:
            _check_size(self.path, os.fstat(self._file).st_size, shard)
        except UserError:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._samples)

    def open(self) -> FileIO:
        """Open the whole shard for reading."""
        if self._item is not None:
            return self._cache.open(self._item)
        assert isinstance(self.path, Path)
        return self.path.open("rb", buffering=0)

    def key(self, position: int) -> str:
        return self._samples[position]["key"]

    def members(self, position: int) -> Collection[str]:
        """Return the extensions of a sample's members, in stored order."""
        return self._samples[position]["members"].keys()

    @cached_property
    def positions(self) -> dict[str, int]:
        """The position of every key."""
        return {sample["key"]: position for position, sample in enumerate(self._samples)}

    def read(self, position: int, wanted: Callable[[str], bool] = lambda extension: True) -> dict[str, bytes]:
        """Return the wanted members of a sample, by extension.

        Raises:
            UserError: when the disk cannot read them, or bytes differ from what was written.
        """
        sample = self._samples[position]
        try:
            return self._members(sample, wanted)
        except _ChecksumMismatch as mismatch:
            if self._item is None:
                raise mismatch.error from None
        self._cache.discard(self._item)  # the file was right when it arrived, so the cache's disk has changed it
        try:
            return self._members(sample, wanted)
        except _ChecksumMismatch as mismatch:
            raise mismatch.error from None

    def _bytes(self, sample: Mapping[str, Any], start: int, stop: int) -> bytes:
        """Read bytes of a sample, counted from its beginning."""
        try:
            if self._item is None:
                return os.pread(self._file, stop - start, sample["offset"] + start)
            with self._cache.open(self._item) as file:
                return os.pread(file.fileno(), stop - start, sample["offset"] + start)
        except UserError as error:
            raise UserError(error.what, file=error.file, key=error.key or sample["key"], hint=error.hint) from error
        except OSError as error:
            disk = "the disk" if self._item is None else f"the disk of {self._cache.folder}"
            message, hint = f"cannot be read ({error.strerror})", f"check {disk}, then start the same command again"
            raise UserError(message, file=self.path, key=sample["key"], hint=hint) from error

    def _members(self, sample: Mapping[str, Any], wanted: Callable[[str], bool]) -> dict[str, bytes]:
        entries = {extension: entry for extension, entry in sample["members"].items() if wanted(extension)}
        if not entries:
            return {}
        # in one read from the first member to the last: what lies before and behind is not wanted
        start = min(offset for offset, _, _ in entries.values())
        data = self._bytes(sample, start, max(offset + size for offset, size, _ in entries.values()))
        members = {}
        for extension, (offset, size, checksum) in entries.items():
            member = data[offset - start : offset - start + size]
            if len(member) != size or zlib.crc32(member) != checksum:
                key = f"{sample['key']}.{extension}"
                message = "bytes differ from those that were written"
                raise _ChecksumMismatch(UserError(message, file=self.path, key=key, hint=HINT))
            members[extension] = member
        return members

    def decode(
        self,
        position: int,
        wanted: Callable[[str], bool] = lambda extension: True,
        window: Callable[[tuple[int, int]], Window] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the wanted members of a sample as arrays, by name: ``rgb``, a task's name, ``TASK.conf`` or
        ``TASK.soft``. Only ``TASK.soft`` may have another size than the rest.

        Args:
            window: maps the image's height and width to the window of ``rgb`` and labels to decode; None for all.

        Raises:
            UserError: when a member does not decode, or has another size than its image.
        """
        return self.decode_members(position, self.read(position, wanted), window)

    def decode_members(
        self,
        position: int,
        members: Mapping[str, bytes],
        window: Callable[[tuple[int, int]], Window] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return members of a sample that :meth:`read` has returned as :meth:`decode` does."""
        arrays: dict[str, np.ndarray] = {}
        names = sorted(members, key=lambda name: not name.startswith("rgb."))  # rgb first: it has the size
        part: Window | None = None
        if window is not None and names and names[0].startswith("rgb."):
            part = window(self._picture_size(position, names[0], members[names[0]]))
        for extension in names:
            if extension == "json":
                continue
            try:
                arrays[extension.rpartition(".")[0]] = self._decode(extension, members[extension], part)
            except UserError as error:
                raise self._in_member(error, position, extension) from error
        sizes = {array.shape[:2] for name, array in arrays.items() if not name.endswith(f".{SOFT}")}
        if len(sizes) > 1:
            shapes = ", ".join(f"{name} {array.shape[0]}x{array.shape[1]}" for name, array in arrays.items())
            message = f"members differ in size: {shapes}"
            raise UserError(message, file=self.path, key=self.key(position), hint="prepare the data set again")
        return arrays

    def _picture_size(self, position: int, extension: str, data: bytes) -> tuple[int, int]:
        try:
            return picture_size(data, extension.rpartition(".")[2])
        except UserError as error:
            raise self._in_member(error, position, extension) from error

    def _in_member(self, error: UserError, position: int, extension: str) -> UserError:
        """Return an error with the shard and a sample's member."""
        return UserError(error.what, file=self.path, key=f"{self.key(position)}.{extension}", hint=error.hint)

    def _decode(self, extension: str, data: bytes, window: Window | None) -> np.ndarray:
        name, _, kind = extension.rpartition(".")
        if name == "rgb":
            return decode_picture(data, kind, window)
        if name.endswith(f".{CONFIDENCE}"):
            return decode_confidence(data)
        if name.endswith(f".{SOFT}"):
            task = self.tasks[name.removesuffix(f".{SOFT}")]
            return decode_soft(task, data, self.soft_classes.get(task.name, 0))
        return self.tasks[name].storage.decode(data, kind, window)


class Readers:
    """The most recently used shard readers of a split, opened on first use. Safe to use from several threads."""

    def __init__(self, manifest: Manifest, split: str, keep: int = 64) -> None:
        self.manifest, self.shards, self.keep = manifest, manifest.shards(split), keep
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        self._lock = threading.Lock()

    def fetch_indexes(self) -> None:
        """Fetch all indexes of a data set in a store at once, before code that reads every one of them."""
        if self.manifest.remote:
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(self._fetch_index, range(len(self.shards))))

    def _fetch_index(self, number: int) -> None:
        self.manifest.cache.open(self.manifest.items(self.shards[number])[0]).close()

    def __getitem__(self, number: int) -> ShardReader:
        if self.manifest.remote and number not in self._open:
            self._fetch_index(number)  # outside the lock, so that other threads need not wait
        with self._lock:
            reader = self._open.pop(number, None) or ShardReader(self.manifest, self.shards[number])
            self._open[number] = reader
            if len(self._open) > self.keep:
                self._open.popitem(last=False)  # it closes its file once no thread uses it any more
            return reader

    def __getstate__(self) -> dict[str, Any]:  # file descriptors cannot be pickled
        return {name: value for name, value in self.__dict__.items() if name not in ("_open", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._open, self._lock = OrderedDict(), threading.Lock()
