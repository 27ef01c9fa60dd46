"""One shard: a tar that ``webdataset.WebDataset`` reads, and an index file for random access to its samples.

The index ``SPLIT-NNNNNN.index.json`` is written after its tar; a tar without a matching index is unfinished.

    {"shard": "train-000000.tar", "bytes": ..., "sha256": "...",
     "labels": {"semseg": 256}, "statistics": {"semseg": {...}},
     "notes": {...}                                               if there are any: shards/notes.py
     "samples": [{"key": "k", "offset": 0, "length": 20480,       bytes of the tar: one read fetches the sample
                  "members": {"rgb.jpg": [512, 9000, 123456]}}]}    offset within them, size, CRC-32
"""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from shards.atomic import atomic_file, read_json, write_json
from shards.errors import UserError
from shards.manifest import ShardInfo, index_name
from shards.notes import Note, tally

_BLOCK = tarfile.BLOCKSIZE


@dataclass
class EncodedSample:
    """A sample as it is stored: ``members`` by extension (``rgb.jpg``, ``depth.png``, ``json``), RGB first."""

    key: str
    members: dict[str, bytes]
    statistics: dict[str, dict[str, Any]]
    notes: list[Note] = field(default_factory=list)


class _HashingFile:
    """A write-only file that hashes and counts the bytes that are written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.bytes += len(data)
        return self.file.write(data)


def write_shard(
    path: Path, samples: Iterable[EncodedSample], merge_statistics: Callable[[list[dict[str, Any]]], Any]
) -> dict[str, Any]:
    """Write a tar and its index, each completely or not at all, and return the index.

    The bytes depend on the samples alone (no times, no user names).

    Args:
        path: the tar's final name.
        samples: in the order to write them in.
        merge_statistics: merges the list of the samples' statistics into one entry.

    Raises:
        UserError: when the disk is full.
    """
    from webdataset import TarWriter  # imports torch, which takes a second that readers need not wait

    entries: list[dict[str, Any]] = []
    statistics: list[dict[str, Any]] = []
    notes: list[tuple[str, list[Note]]] = []
    with atomic_file(path) as file:
        hashed = _HashingFile(file)
        with TarWriter(hashed, user="", group="", mtime=0, encoder=False, format="PAX_FORMAT") as tar:
            for sample in samples:
                start, members = tar.tarstream.offset, {}
                for extension, data in sample.members.items():
                    tar.write({"__key__": sample.key, extension: data})
                    stored = -(-len(data) // _BLOCK) * _BLOCK
                    members[extension] = [tar.tarstream.offset - stored - start, len(data), zlib.crc32(data)]
                tar.tarstream.members.clear()  # else tarfile keeps every header
                length = tar.tarstream.offset - start
                entries.append({"key": sample.key, "offset": start, "length": length, "members": members})
                statistics.append(sample.statistics)
                notes.append((sample.key, sample.notes))
    merged = merge_statistics(statistics)
    index = {
        "shard": path.name,
        "bytes": hashed.bytes,
        "sha256": hashed.sha256.hexdigest(),
        "labels": {task: entry["frames"] for task, entry in merged.items()},
        "statistics": merged,
        "samples": entries,
    }
    if counted := tally(notes):
        index["notes"] = counted
    write_json(path.with_name(index_name(path.name)), index, indent=None)
    return index


def shard_info(folder: Path, index: Mapping[str, Any]) -> ShardInfo:
    """Return the manifest's entry for a shard that has been written."""
    data = (folder / index_name(index["shard"])).read_bytes()
    index_sha256 = hashlib.sha256(data).hexdigest()
    count = len(index["samples"])
    return ShardInfo(index["shard"], count, index["bytes"], index["sha256"], index_sha256, index["labels"])


def whole_index(path: Path) -> dict[str, Any] | None:
    """Return the index of a shard that exists with the bytes that its index records; else None."""
    index_path = path.with_name(index_name(path.name))
    if not path.is_file() or not index_path.is_file():
        return None
    try:
        index = read_json(index_path, "")
        return index if index["sha256"] == sha256_of(path) else None
    except (UserError, KeyError, TypeError):
        return None


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
