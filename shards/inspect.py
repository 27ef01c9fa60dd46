"""What a data set holds, whether every byte of it is what was written, and what it looks like."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from shards.errors import UserError
from shards.manifest import Manifest, ShardInfo
from shards.notes import lines
from shards.order import Order
from shards.picture import save, sheet
from shards.prefetch import Prefetch
from shards.read import CURE, Readers, ShardReader, allowed_members

_USES = {"train": "learnt from it", "val": "measured on it"}


def split_rows(manifest: Manifest) -> Iterator[list[str]]:
    """Split, shards, samples, labels of each task, megabytes: one row a split."""
    for split, shards in manifest.splits.items():
        labels = [str(sum(shard.labels.get(task.name, 0) for shard in shards)) for task in manifest.tasks]
        megabytes = sum(shard.bytes for shard in shards) / 1e6
        yield [split, str(len(shards)), str(manifest.samples(split)), *labels, f"{megabytes:.1f}"]


def remarks(manifest: Manifest) -> list[str]:
    """What was left out, turned, converted or guessed when the data set was made, and what looks wrong about it."""
    found = list(manifest.notes.get("source", []))
    for split in manifest.splits:
        found += [f"{split}: {line}" for line in lines(manifest.notes.get(split, {}))]
    for task in manifest.tasks:
        known = {split: of[task.name] for split, of in manifest.statistics.items() if of[task.name]["frames"]}
        for split in manifest.splits:
            if manifest.samples(split) and split not in known:
                found.append(
                    f"{task.name}: no frame of {split} has a label, so nothing can be {_USES.get(split, 'done')}"
                )
        found += [f"{task.name}: {line}" for line in task.storage.remarks(known)]
    return found


def verify(manifest: Manifest, progress: Callable[[int], None] = lambda samples: None) -> int:
    """Check every byte against the manifest and decode every member; returns the number of samples.

    Raises:
        UserError: at the first thing that is wrong.
    """
    checked = 0
    for shard in _in_turn(manifest):
        reader = ShardReader(manifest, shard)
        _verify_members(manifest, reader)
        for position in range(len(reader)):
            reader.decode(position)
        with reader.open() as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != shard.sha256:  # last, since all the other checks can name the member
            raise UserError("bytes differ from the manifest's hash", file=reader.path, hint=CURE)
        checked += len(reader)
        progress(len(reader))
    return checked


def _in_turn(manifest: Manifest) -> Iterator[ShardInfo]:
    """All shards, the next ones fetched ahead where they are in a store."""
    for split, shards in manifest.splits.items():
        with Prefetch([Readers(manifest, split)] if manifest.samples(split) else []) as ahead:
            for number, shard in enumerate(shards):
                ahead.update(range(number, len(shards)))
                yield shard


def _verify_members(manifest: Manifest, reader: ShardReader) -> None:
    """The tar as any tar reader sees it: the very members that the index lists, in its order."""
    listed = [f"{reader.key(i)}.{extension}" for i in range(len(reader)) for extension in reader.members(i)]
    try:
        with reader.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            found = tar.getnames()
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError, EOFError, MemoryError) as error:
        raise UserError(f"is not a whole tar ({error})", file=reader.path, hint=CURE) from error
    allowed = allowed_members(manifest.tasks, manifest.kind, manifest.label_format)
    for name in found:
        if name.partition(".")[2] not in allowed:
            raise UserError("is of a kind that the manifest does not declare", file=reader.path, key=name, hint=CURE)
    if found != listed:
        other = next(a or b for a, b in zip_longest(found, listed) if a != b)
        raise UserError("members differ from the index", file=reader.path, key=other, hint=CURE)


def contact_sheet(manifest: Manifest, split: str, path: str | Path, frames: int = 8) -> None:
    """A picture of frames spread evenly over a split: RGB, then every task in the data set's colours."""
    if frames < 1:
        raise UserError(f"{frames} frames", key="--frames", hint="give 1 or more")
    readers = Readers(manifest, split)
    order = Order([shard.samples for shard in readers.shards], seed=0, shuffle=False)
    rows: list[list[np.ndarray | None]] = []
    for place in np.linspace(0, order.samples - 1, min(frames, order.samples)):
        number, position = order.locate(0, round(place))
        arrays = readers[number].decode(position)
        rows.append([arrays.get("rgb")])
        for task in manifest.tasks:
            label = arrays.get(task.name)
            rows[-1].append(None if label is None else task.storage.colourise(label))
    save(sheet(rows, ["rgb", *(task.name for task in manifest.tasks)]), path)
