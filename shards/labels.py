"""Label shards: a sidecar of pseudo-labels, one tar for each source shard, under the same name.

    labels/train/
      MANIFEST.json          kind "labels"; names the teacher and the source's manifest by their hashes
      train-000000.tar       those keys of the source shard that were labelled, in its order:
                             KEY.semseg.png  KEY.semseg.conf.png  KEY.depth.png
      train-000000.index.json

The labels of all pixels are kept, with their confidence; a threshold is applied when they are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import CONFIDENCE_STEPS, encode_confidence, encode_label
from shards.errors import UserError
from shards.manifest import Manifest, ShardInfo
from shards.pack import merge_samples
from shards.read import CONFIDENCE, Readers
from shards.statistics import of_label
from shards.tasks import IGNORE, Task
from shards.write import EncodedSample, shard_info, write_shard


@dataclass
class LabelledFrame:
    """A teacher's output for one frame: arrays by task, and their confidence ``(H, W)`` where there is one."""

    key: str
    labels: dict[str, np.ndarray]
    confidence: dict[str, np.ndarray]


def encode_frame(frame: LabelledFrame, tasks: tuple[Task, ...]) -> EncodedSample:
    """A labelled frame as the members of a label shard."""
    members, statistics = {}, {}
    for task in tasks:
        if task.name not in frame.labels:
            continue
        members[f"{task.name}.png"] = encode_label(task, frame.labels[task.name])
        statistics[task.name] = of_label(task, frame.labels[task.name])
        if task.name in frame.confidence:
            members[f"{task.name}.{CONFIDENCE}.png"] = encode_confidence(frame.confidence[task.name])
    return EncodedSample(frame.key, members, statistics)


def write_label_shard(folder: Path, name: str, samples: Iterable[EncodedSample], tasks: tuple[Task, ...]) -> ShardInfo:
    """Write one label shard, which may be empty: a source shard without one has not been labelled yet."""
    index = write_shard(folder / name, samples, lambda of: merge_samples(tasks, of))
    return shard_info(folder, index)


def label_manifest(
    folder: Path,
    source: Manifest,
    split: str,
    tasks: tuple[Task, ...],
    shards: list[ShardInfo],
    statistics: Mapping[str, Any],
    teacher: Mapping[str, Any],
) -> Manifest:
    """The manifest of a sidecar. ``teacher`` says where the labels come from: checkpoint hash, config."""
    origin = {
        "manifest_sha256": source.sha256,
        "split": split,
        "confidence_steps": CONFIDENCE_STEPS,
        "teacher": dict(teacher),
    }
    splits = {split: tuple(shards)}
    return Manifest(folder, source.name, "labels", source.size, tasks, splits, {split: statistics}, origin)


class LabelShards:
    """The pseudo-labels of one task, read beside their source.

    Args:
        folder: the sidecar.
        source: the manifest of the data set that was labelled.
        task: whose labels are read.
        threshold: pixels whose confidence is not above it get no label; None keeps all, and is the only choice for
            labels without a confidence.

    Raises:
        UserError: when the sidecar belongs to another data set, or lacks the task or its confidence.
    """

    def __init__(self, folder: Path, source: Manifest, split: str, task: Task, threshold: float | None) -> None:
        self.task, self.threshold = task, threshold
        manifest = Manifest.load(folder, kind="labels")
        if manifest.source.get("manifest_sha256") != source.sha256:
            cure = "label this data set: `tutelage label CONFIG`"
            raise UserError(f"holds labels of another data set than {source.folder}", file=manifest.path, cure=cure)
        if manifest.task(task.name) != task:
            raise UserError(f"{task.name} differs from the data set's", file=manifest.path, cure="label it again")
        names = [shard.file for shard in manifest.shards(split)]
        if names != [shard.file for shard in source.shards(split)]:
            raise UserError("has other shards than its source", file=manifest.path, cure="label the data set again")
        self._readers = Readers(manifest, split)

    def keys(self, shard: int) -> set[str]:
        """Keys of a source shard that have a pseudo-label of this task."""
        reader = self._readers[shard]
        member = f"{self.task.name}.png"
        return {reader.key(position) for position in range(len(reader)) if member in reader.members(position)}

    def read(self, shard: int, key: str) -> np.ndarray:
        """The label array of a key, pixels under the threshold unlabelled."""
        label, confidence = self.read_whole(shard, key)
        if self.threshold is None:
            return label
        if confidence is None:
            cure = f"set pseudo.{self.task.name}.threshold=null"
            path = self._readers[shard].path
            raise UserError("has no confidence to hold a threshold against", file=path, key=key, cure=cure)
        return keep_confident(self.task, label, confidence, self.threshold)

    def read_whole(self, shard: int, key: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The label array of a key whatever the threshold, and its confidence ``(H, W)`` where there is one."""
        reader = self._readers[shard]
        arrays = reader.decode(reader.positions[key], lambda extension: extension.startswith(f"{self.task.name}."))
        return arrays[self.task.name], arrays.get(f"{self.task.name}.{CONFIDENCE}")


def keep_confident(task: Task, label: np.ndarray, confidence: np.ndarray, threshold: float) -> np.ndarray:
    """The label with "no label" wherever the confidence is not above the threshold."""
    kept = confidence > threshold
    if task.kind == "classes":
        return np.where(kept, label, np.uint8(IGNORE))
    return label * (kept if label.ndim == 2 else kept[..., None])
