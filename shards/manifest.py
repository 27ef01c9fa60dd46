"""``MANIFEST.json``: the content of a data set's folder, and the only list of its files that readers trust.

    {
      "format": 1,
      "kind": "frames",                  or "labels": a sidecar of pseudo-labels
      "name": "scenes",
      "size": [96, 128],                 null where frames keep their own sizes
      "tasks": {"semseg": {"kind": "classes", "classes": [...], "colours": [...]},
                "depth": {"kind": "scalar", "scale": 0.001, "unit": "m"}},
      "splits": {"train": [{"file": "train-000000.tar", "samples": 256, "bytes": ..., "sha256": "...",
                            "index_sha256": "...", "labels": {"semseg": 256, "depth": 250}}, ...]},
      "statistics": {"train": {"semseg": {...}, "depth": {...}}},
      "label_format": "tif",             where label members are not PNG (shards/members.py)
      "source": {...}                    options of the preparation, or the teacher of the labels
      "notes": {"source": ["..."], "train": {...}}    if any: what was left out, turned, converted or looks wrong, of
    }                                                 the source and by split (shards/notes.py)

It is written last: a folder without one is unfinished.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from shards.atomic import parse_json, read_json, write_json
from shards.cache import Cache, Item
from shards.errors import UserError
from shards.manifestfile import identity_of, read_remote
from shards.members import LABEL_FORMATS
from shards.statistics import merge
from shards.store import Place, Remote, place
from shards.tasks import Task

FORMAT = 1
NAME = "MANIFEST.json"
_BLOCK = 512
"""Bytes of a tar's block: a sample takes at least one."""
_LABEL = "label with `tutelage label` or tt.label, or correct the path"
_PREPARE = "make the data set with `tutelage prepare`, or correct the path"


@dataclass(frozen=True)
class ShardInfo:
    """One shard's entry. ``labels`` counts the samples that carry each task's label."""

    file: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str
    labels: Mapping[str, int]

    @property
    def index_file(self) -> str:
        return index_name(self.file)


@dataclass(frozen=True)
class Manifest:
    """A data set's manifest, and the folder that it describes: on a disk, or in a store and read through a cache."""

    folder: Place
    name: str
    kind: str
    size: tuple[int, int] | None
    tasks: tuple[Task, ...]
    splits: Mapping[str, tuple[ShardInfo, ...]]
    statistics: Mapping[str, Mapping[str, dict[str, Any]]]
    source: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    cache: Cache = field(default_factory=Cache)
    label_format: str = "png"

    @property
    def path(self) -> Place:
        return self.folder / NAME

    @property
    def remote(self) -> bool:
        """Whether the data set's files are in a store."""
        return isinstance(self.folder, Remote)

    def items(self, shard: "ShardInfo") -> tuple[Item, Item]:
        """Return the cache items of a shard's index and of the shard, for a data set in a store."""
        assert isinstance(self.folder, Remote)
        index = Item(self.folder / shard.index_file, shard.index_sha256)
        return index, Item(self.folder / shard.file, shard.sha256, shard.bytes)

    @cached_property
    def sha256(self) -> str:
        """Hash of the manifest's file, which determines every byte of the data set."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def identity(self) -> str:
        """Hash by which runs know their data (:func:`shards.manifestfile.identity_of`)."""
        return identity_of(self.path.read_bytes())

    def task(self, name: str) -> Task:
        """Return the task of that name.

        Raises:
            UserError: when the data set has none.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        names = ", ".join(task.name for task in self.tasks)
        raise UserError(f"has no task {name!r}", file=self.path, hint=f"use one of its tasks: {names}")

    def label_member(self, task: str) -> str:
        """Return the extension of a task's label in a sample: ``semseg.png``."""
        return f"{task}.{self.label_format}"

    @property
    def tiled(self) -> bool:
        """Whether frames are stored in tiles, so that a window of a frame can be decoded alone."""
        return self.label_format == "tif"

    def shards(self, split: str) -> tuple[ShardInfo, ...]:
        """Return the shards of a split, in the order of their numbers.

        Raises:
            UserError: when the data set lacks the split, or the split is empty.
        """
        shards = self.splits.get(split, ())
        if not sum(shard.samples for shard in shards):
            names = ", ".join(name for name, entries in self.splits.items() if entries) or "none"
            raise UserError(f"split {split!r} is empty", file=self.path, hint=f"it has the splits: {names}")
        return shards

    def samples(self, split: str) -> int:
        return sum(shard.samples for shard in self.splits.get(split, ()))

    def complete(self) -> bool:
        """Whether every shard of a data set on a disk exists with its index and has the right size;
        :func:`shards.inspect.verify` checks all bytes."""
        folder = self.folder
        assert isinstance(folder, Path)
        return all(
            (folder / shard.index_file).is_file()
            and (folder / shard.file).is_file()
            and (folder / shard.file).stat().st_size == shard.bytes
            for shards in self.splits.values()
            for shard in shards
        )

    def validate(self) -> "Manifest":
        """Check that the parts of the manifest are consistent, which no reader checks again, and return it.

        Raises:
            ValueError, LookupError, TypeError: when they are not.
        """
        if not (isinstance(self.name, str) and isinstance(self.source, dict) and min(self.size or (1,)) > 0):
            raise ValueError("name, size or source is of another type")
        hash(self.tasks)  # raises for a list in the place of text
        if not all(math.isfinite(task.scale) for task in self.tasks):
            raise ValueError("a scale is not finite")
        if self.label_format not in LABEL_FORMATS:
            raise ValueError(f"label_format {self.label_format!r} is none of {', '.join(LABEL_FORMATS)}")
        files = [shard.file for shards in self.splits.values() for shard in shards]
        if len(set(files)) < len(files):
            raise ValueError("names a shard twice")
        for split, tasks in self.statistics.items():
            if split not in self.splits:
                raise ValueError(f"has statistics of a split {split!r} that does not exist")
            for task in self.tasks:
                _check_statistics(tasks[task.name], merge(task, ()))
        return self

    def save(self) -> None:
        """Write ``MANIFEST.json`` atomically, on a disk."""
        assert isinstance(self.path, Path)
        splits = {name: [shard.__dict__ for shard in shards] for name, shards in self.splits.items()}
        entry = {
            "format": FORMAT,
            "kind": self.kind,
            "name": self.name,
            "size": self.size,
            "tasks": {task.name: task.to_json() for task in self.tasks},
            "splits": splits,
            "statistics": self.statistics,
            "source": self.source,
        }
        entry |= {"notes": self.notes} if self.notes else {}
        entry |= {"label_format": self.label_format} if self.label_format != "png" else {}
        write_json(self.path, entry)

    @classmethod
    def load(cls, folder: str | Place, kind: str = "frames", cache: Cache | None = None) -> "Manifest":
        """Read a folder's manifest.

        Args:
            folder: its path or URL.
            kind: the expected kind: ``frames`` or ``labels``.
            cache: cache for the files of a store; None for the default one.

        Raises:
            UserError: when it is missing, damaged, of a newer format, or of another kind.
        """
        folder = place(folder)
        path = folder / NAME
        hint = _LABEL if kind == "labels" else _PREPARE
        data = read_remote(path) if isinstance(path, Remote) else b""
        if data is None:
            raise UserError("does not exist", file=path, hint=hint)
        return cls._parse(folder, data, kind, cache)

    @classmethod
    def find(cls, folder: Remote, kind: str = "frames", cache: Cache | None = None) -> "Manifest | None":
        """Do as :meth:`load` for a folder in a store, where it need not exist: then None."""
        data = read_remote(folder / NAME)
        return None if data is None else cls._parse(folder, data, kind, cache)

    @classmethod
    def _parse(cls, folder: Place, data: bytes, kind: str, cache: Cache | None) -> "Manifest":
        path, hint = folder / NAME, _LABEL if kind == "labels" else _PREPARE
        entry = parse_json(data, path, hint) if isinstance(path, Remote) else read_json(path, hint)
        try:
            if entry["format"] > FORMAT:
                raise UserError(
                    f"has format {entry['format']}, newer than the {FORMAT} that this version reads",
                    key="format",
                    hint="update tutelage (`pip install --upgrade tutelage`), or prepare the data set again",
                )
            if entry["kind"] != kind:
                hint = f"give the folder of a data set of {kind}"
                raise UserError(f"describes {entry['kind']}, not {kind}", key="kind", hint=hint)
            manifest = cls(
                folder,
                entry["name"],
                entry["kind"],
                (int(entry["size"][0]), int(entry["size"][1])) if entry["size"] else None,
                tuple(Task.from_json(name, task) for name, task in entry["tasks"].items()),
                {name: tuple(_shard(shard) for shard in shards) for name, shards in entry["splits"].items()},
                entry["statistics"],
                entry["source"],
                entry.get("notes", {}),
                cache or Cache(),
                entry.get("label_format", "png"),
            ).validate()
            if data:  # hash the bytes that were read, since the store may change
                manifest.__dict__.update(sha256=hashlib.sha256(data).hexdigest(), identity=identity_of(data))
            return manifest
        except UserError as error:
            raise UserError(error.what, file=path, key=error.key, hint=error.hint or _PREPARE) from error
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            message = f"is not a manifest of format {FORMAT} ({type(error).__name__}: {error})"
            raise UserError(message, file=path, hint=_PREPARE) from error


def _shard(entry: Mapping[str, Any]) -> ShardInfo:
    """Parse a shard's entry.

    Raises:
        ValueError, TypeError: when it is not a valid entry.
    """
    shard = ShardInfo(**entry)
    texts = (shard.file, shard.sha256, shard.index_sha256)
    counts = (shard.samples, shard.bytes, *shard.labels.values())
    if not all(isinstance(text, str) for text in texts) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError(f"{shard.file!r} has a value of another type")
    if not shard.file.endswith(".tar") or shard.file[0] == "." or {*shard.file} & {*"/\\\0"}:
        raise ValueError(f"{shard.file!r} is not the name of a shard")
    if shard.samples * _BLOCK > shard.bytes or max(shard.labels.values(), default=0) > shard.samples:
        raise ValueError(f"{shard.file} cannot hold so many samples or labels")
    return shard


def _check_statistics(statistics: Mapping[str, Any], blank: Mapping[str, Any]) -> None:
    """Check that statistics have the form of a task's blank ones."""
    for key, empty in blank.items():
        value = statistics[key]
        is_list = isinstance(empty, list)
        numbers = value if is_list else [value]
        if is_list and len(value) != len(empty):
            raise ValueError(f"{key} has {len(value)} values, not {len(empty)}")
        if not all((n is None and empty is None) or (isinstance(n, int | float) and math.isfinite(n)) for n in numbers):
            raise ValueError(f"{key} has values that are not numbers")


def index_name(shard: str) -> str:
    """Return the name of a shard's index: ``train-000000.index.json`` for ``train-000000.tar``."""
    return shard.removesuffix(".tar") + ".index.json"


def shard_name(split: str, number: int) -> str:
    return f"{split}-{number:06d}.tar"


def statistics_of(splits: Mapping[str, list[Mapping[str, Any]]], tasks: tuple[Task, ...]) -> dict[str, Any]:
    """Merge statistics by split and task over the shards in their order, so that they never depend on timing."""
    return {
        split: {task.name: merge(task, [stats[task.name] for stats in shards if task.name in stats]) for task in tasks}
        for split, shards in splits.items()
    }


def same_json(left: Any, right: Any) -> bool:
    """Whether two values are equal once converted to JSON (tuples are lists, keys are strings)."""
    return json.loads(json.dumps(left)) == json.loads(json.dumps(right))
