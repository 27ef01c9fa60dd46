"""What a data set holds, whether every byte of it is what was written, and what it looks like."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.manifest import Manifest, ShardInfo
from shards.picture import colourise, save, sheet
from shards.read import CURE, Readers, ShardReader, allowed_members
from shards.statistics import mean_and_deviation
from shards.tasks import Task
from shards.write import sha256_of


def split_rows(manifest: Manifest) -> Iterator[list[str]]:
    """Split, shards, samples, labels of each task, megabytes: one row a split."""
    for split, shards in manifest.splits.items():
        labels = [str(sum(shard.labels.get(task.name, 0) for shard in shards)) for task in manifest.tasks]
        megabytes = sum(shard.bytes for shard in shards) / 1e6
        yield [split, str(len(shards)), str(manifest.samples(split)), *labels, f"{megabytes:.1f}"]


def class_shares(task: Task, statistics: dict[str, Any]) -> list[tuple[str, float]]:
    """Each class's share of the labelled pixels, in percent."""
    total = max(sum(statistics["pixels"]), 1)
    return [(name, 100 * pixels / total) for name, pixels in zip(task.classes, statistics["pixels"], strict=True)]


def metric_summary(task: Task, statistics: dict[str, Any]) -> str:
    """Range, mean, deviation and missing share of a metric task's values, as a line."""
    if not statistics["pixels"]:
        return "no measurement"
    mean, deviation = mean_and_deviation(statistics)
    missing = 100 * statistics["missing"] / (statistics["pixels"] + statistics["missing"])
    low, high = statistics["min"], statistics["max"]
    return f"{low:.2f} to {high:.2f} {task.unit}, mean {mean:.2f} ± {deviation:.2f}, {missing:.1f} % missing"


def verify(manifest: Manifest, progress: Callable[[int], None] = lambda samples: None) -> int:
    """Check every byte against the manifest and decode every member; returns the number of samples.

    Raises:
        UserError: at the first thing that is wrong.
    """
    checked = 0
    for split, shards in manifest.splits.items():
        readers = Readers(manifest, split, keep=1) if shards else None
        for number, shard in enumerate(shards):
            assert readers is not None
            reader = readers[number]
            _verify_tar(manifest, shard, reader)
            for position in range(len(reader)):
                reader.decode(position)
            if len(reader) != shard.samples:
                what = f"holds {len(reader)} samples, where the manifest says {shard.samples}"
                raise UserError(what, file=reader.path, cure=CURE)
            checked += len(reader)
            progress(len(reader))
    return checked


def _verify_tar(manifest: Manifest, shard: ShardInfo, reader: ShardReader) -> None:
    """The tar as any tar reader sees it: the hash, and the very members that the index lists, in its order."""
    listed = [f"{reader.key(i)}.{extension}" for i in range(len(reader)) for extension in reader.members(i)]
    try:
        with tarfile.open(reader.path, "r:") as tar:
            found = tar.getnames()
    except tarfile.TarError as error:
        raise UserError(f"is no whole tar ({error})", file=reader.path, cure=CURE) from error
    allowed = allowed_members(manifest.tasks, manifest.kind)
    for name in found:
        if name.partition(".")[2] not in allowed:
            raise UserError("is of a kind that the manifest does not declare", file=reader.path, key=name, cure=CURE)
    if found != listed:
        other = next((a or b for a, b in zip(found, listed, strict=False) if a != b), "(count)")
        raise UserError("members differ from the index", file=reader.path, key=other, cure=CURE)
    if sha256_of(reader.path) != shard.sha256:
        raise UserError("bytes differ from the manifest's hash", file=reader.path, cure=CURE)


def contact_sheet(manifest: Manifest, split: str, path: str | Path, frames: int = 8) -> None:
    """A picture of frames spread evenly over a split: RGB, then every task in the data set's colours."""
    readers = Readers(manifest, split)
    places = [(n, i) for n, shard in enumerate(readers.shards) for i in range(shard.samples)]
    chosen = [places[round(i)] for i in np.linspace(0, len(places) - 1, min(frames, len(places)))]
    rows: list[list[np.ndarray | None]] = []
    for number, position in chosen:
        arrays = readers[number].decode(position)
        rows.append([arrays.get("rgb")])
        for task in manifest.tasks:
            label = arrays.get(task.name)
            rows[-1].append(None if label is None else colourise(task, label))
    save(sheet(rows, ["rgb", *(task.name for task in manifest.tasks)]), path)
