"""Inspect a data set: a table of its contents, remarks, verification of every byte, and a contact sheet."""

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from shards.errors import UserError
from shards.evenly import evenly_spaced
from shards.index import HINT
from shards.manifest import Manifest, ShardInfo
from shards.notes import format_tally
from shards.order import Order
from shards.picture import save, sheet
from shards.prefetch import Prefetch
from shards.read import Readers, ShardReader, allowed_members

_USES = {"train": "learnt from it", "val": "measured on it"}


def split_rows(manifest: Manifest) -> Iterator[list[str]]:
    """Yield one row per split: its name, shards, samples, labels of each task, megabytes."""
    for split, shards in manifest.splits.items():
        labels = [str(sum(shard.labels.get(task.name, 0) for shard in shards)) for task in manifest.tasks]
        megabytes = sum(shard.bytes for shard in shards) / 1e6
        yield [split, str(len(shards)), str(manifest.samples(split)), *labels, f"{megabytes:.1f}"]


def remarks(manifest: Manifest) -> list[str]:
    """Return what was left out, turned, converted or guessed when the data set was made, and what looks wrong in it."""
    lines = list(manifest.notes.get("source", []))
    for split in manifest.splits:
        lines += [f"{split}: {line}" for line in format_tally(manifest.notes.get(split, {}))]
    for task in manifest.tasks:
        by_split = {split: tasks[task.name] for split, tasks in manifest.statistics.items()}
        statistics = {split: entry for split, entry in by_split.items() if entry["frames"]}
        for split in manifest.splits:
            if manifest.samples(split) and split not in statistics:
                lines.append(
                    f"{task.name}: no frame of {split} has a label, so nothing can be {_USES.get(split, 'done')}"
                )
        lines += [f"{task.name}: {line}" for line in task.storage.remarks(statistics)]
    return lines


def verify(manifest: Manifest, progress: Callable[[int], None] = lambda samples: None) -> int:
    """Check every byte against the manifest, decode every member, and return the number of samples.

    Raises:
        UserError: at the first error.
    """
    checked = 0
    for shard in _prefetch_shards(manifest):
        reader = ShardReader(manifest, shard)
        _verify_members(manifest, reader)
        for position in range(len(reader)):
            reader.decode(position)
        with reader.open() as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != shard.sha256:  # last, since all the other checks can name the member
            raise UserError("bytes differ from the manifest's hash", file=reader.path, hint=HINT)
        checked += len(reader)
        progress(len(reader))
    return checked


def _prefetch_shards(manifest: Manifest) -> Iterator[ShardInfo]:
    """Yield all shards, while the next ones are fetched ahead if they are in a store."""
    for split, shards in manifest.splits.items():
        with Prefetch([Readers(manifest, split)] if manifest.samples(split) else []) as prefetch:
            for number, shard in enumerate(shards):
                prefetch.update(range(number, len(shards)))
                yield shard


def _verify_members(manifest: Manifest, reader: ShardReader) -> None:
    """Check that a plain tar reader finds exactly the members that the index lists, in its order."""
    listed = [f"{reader.key(i)}.{extension}" for i in range(len(reader)) for extension in reader.members(i)]
    try:
        with reader.open() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            names = tar.getnames()
    except (tarfile.TarError, ValueError, LookupError, ArithmeticError, EOFError, MemoryError) as error:
        raise UserError(f"is not a whole tar ({error})", file=reader.path, hint=HINT) from error
    allowed = allowed_members(manifest.tasks, manifest.kind, manifest.label_format)
    for name in names:
        if name.partition(".")[2] not in allowed:
            raise UserError("is of a kind that the manifest does not declare", file=reader.path, key=name, hint=HINT)
    if names != listed:
        name = next(a or b for a, b in zip_longest(names, listed) if a != b)
        raise UserError("members differ from the index", file=reader.path, key=name, hint=HINT)


def contact_sheet(manifest: Manifest, split: str, path: str | Path, frames: int = 8) -> None:
    """Save a picture of frames spread evenly over a split: RGB, then every task in the data set's colours, with the
    values of each label, such as the range of a depth map, and the meaning of the colours."""
    if frames < 1:
        raise UserError(f"{frames} frames", key="--frames", hint="give 1 or more")
    readers = Readers(manifest, split)  # a data set would read the index of every shard for its masks of labels
    order = Order([shard.samples for shard in readers.shards], seed=0, shuffle=False)
    rows: list[list[np.ndarray | None]] = []
    texts: list[list[str]] = []
    labels: dict[str, list[np.ndarray]] = {task.name: [] for task in manifest.tasks}
    for place in evenly_spaced(order.samples, frames):
        number, position = order.locate(0, int(place))
        arrays = readers[number].decode(position)
        rows.append([arrays.get("rgb")])
        texts.append([readers[number].key(position)])
        for task in manifest.tasks:
            label = arrays.get(task.name)
            rows[-1].append(None if label is None else task.storage.colourise(label))
            texts[-1].append("" if label is None else task.storage.glance(label))
            labels[task.name] += [] if label is None else [label]
    keys = [[], *(task.storage.key(labels[task.name]) for task in manifest.tasks)]
    save(sheet(rows, ["rgb", *labels], texts=texts, keys=keys), path)
