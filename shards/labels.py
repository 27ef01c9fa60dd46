"""Read and write label shards: a sidecar of pseudo-labels, one tar for each source shard, under the same name.

    labels/train/
      MANIFEST.json          kind "labels"; names the teacher and the source's manifest by their hashes
      train-000000.tar       the labelled keys of the source shard, in its order:
                             KEY.semseg.png  KEY.semseg.conf.png  KEY.semseg.soft.png  KEY.depth.png
      train-000000.index.json

The labels of all pixels are stored with their confidence, and for classes also the distribution as far as
:mod:`shards.soft` keeps it. Which of them a student learns from is decided when they are read
(:class:`shards.keep.Keep`), so it can be changed without labelling again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import CONFIDENCE_STEPS, encode_confidence
from shards.errors import UserError
from shards.keep import HUNDREDTHS, Filter, Keep, quantise_weights
from shards.manifest import Manifest, ShardInfo
from shards.notes import member_context
from shards.quantile import COUNTS, quantile_limits
from shards.read import CONFIDENCE, Readers, soft_classes
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS, encode_soft
from shards.statistics import merge_samples
from shards.store import Place
from shards.tasks import Task
from shards.write import EncodedSample, shard_info, write_shard

WEIGHT = "weight"


def absent_value(plane: str) -> int:
    """Return the value that an array of :attr:`LabelShards.planes` has where there is no pseudo-label: full weight, or
    no soft label."""
    return STEPS if plane.endswith(f".{WEIGHT}") else 0


@dataclass
class LabelledFrame:
    """A teacher's output for one frame: label arrays by task, and their confidence ``(H, W)`` and soft labels
    ``(h, w, 2k)`` where available."""

    key: str
    labels: dict[str, np.ndarray]
    confidence: dict[str, np.ndarray]
    soft: dict[str, np.ndarray] = field(default_factory=dict)


def encode_frame(frame: LabelledFrame, tasks: tuple[Task, ...]) -> EncodedSample:
    """Encode a labelled frame as the members of a label shard.

    Raises:
        UserError: naming the key, when a soft label is too large to be read.
    """
    members, statistics = {}, {}
    for task in tasks:
        if task.name not in frame.labels:
            continue
        label = task.storage.storable(frame.labels[task.name])
        members[f"{task.name}.png"] = task.storage.encode(label)
        statistics[task.name] = task.storage.statistics(label)
        if task.name in frame.confidence:
            members[f"{task.name}.{CONFIDENCE}.png"] = encode_confidence(frame.confidence[task.name])
        if task.name in frame.soft:
            with member_context(task.name, key=frame.key):
                members[f"{task.name}.{SOFT}.png"] = encode_soft(frame.soft[task.name])
    return EncodedSample(frame.key, members, statistics)


def write_label_shard(folder: Path, name: str, samples: Iterable[EncodedSample], tasks: tuple[Task, ...]) -> ShardInfo:
    """Write one label shard. It may be empty, since a source shard without a label shard counts as not yet labelled."""
    index = write_shard(folder / name, samples, lambda statistics: merge_samples(tasks, statistics))
    return shard_info(folder, index)


def label_manifest(
    folder: Path,
    source: Manifest,
    split: str,
    tasks: tuple[Task, ...],
    shards: list[ShardInfo],
    statistics: Mapping[str, Any],
    teacher: Mapping[str, Any],
    soft: Mapping[str, Mapping[str, int]] | None = None,
) -> Manifest:
    """Make the manifest of a sidecar. ``teacher`` records the origin of the labels (checkpoint hash, config); ``soft``
    records, for each task that has soft labels, how many ``classes`` they store at which ``scale``."""
    origin = {
        "manifest_sha256": source.sha256,
        "split": split,
        "confidence_steps": CONFIDENCE_STEPS,
        "teacher": dict(teacher),
    }
    if soft:
        origin[SOFT] = dict(soft)
    splits = {split: tuple(shards)}
    return Manifest(folder, source.name, "labels", source.size, tasks, splits, {split: statistics}, origin)


class LabelShards:
    """The pseudo-labels of one task for the frames of their source.

    Args:
        folder: the sidecar's path or URL.
        source: manifest of the data set that was labelled.
        split: the split of both.
        task: task whose labels are read.
        keep: which labels are kept; or a value that :meth:`shards.keep.Keep.of` accepts, such as a threshold.

    Raises:
        UserError: when the sidecar belongs to another data set, or lacks the task or what ``keep`` needs.
    """

    def __init__(
        self, folder: str | Place, source: Manifest, split: str, task: Task, keep: Keep | float | str | Filter | None
    ) -> None:
        self.task, self.keep = task, Keep.of(keep)
        manifest = Manifest.load(folder, kind="labels", cache=source.cache)
        if manifest.source.get("manifest_sha256") != source.sha256:
            hint = "label this data set: `tutelage label CONFIG`"
            raise UserError(f"holds labels of another data set than {source.folder}", file=manifest.path, hint=hint)
        if manifest.task(task.name) != task:
            raise UserError(f"{task.name} differs from the data set's", file=manifest.path, hint="label it again")
        names = [shard.file for shard in manifest.shards(split)]
        if names != [shard.file for shard in source.shards(split)]:
            raise UserError("has other shards than its source", file=manifest.path, hint="label the data set again")
        self.soft_classes = soft_classes(manifest).get(task.name, 0)
        if self.keep.soft and not self.soft_classes:
            hint = f"delete it and label again with label.soft over 0, or set pseudo.{task.name}.target=hard"
            raise UserError(f"holds no soft labels of {task.name}", file=manifest.path, hint=hint)
        self._statistics = manifest.statistics[split][task.name]
        self._limits, self._share_of_quantile = None, None
        if self.keep.quantile is not None:
            if not self._statistics.get(COUNTS):
                message = f"has no confidence counts of {task.name}, by which to keep a share"
                raise UserError(message, file=manifest.path, hint=f"set pseudo.{task.name}.keep=all")
            self._limits, self._share_of_quantile = quantile_limits(self._statistics, self.keep.quantile)
        self.readers = Readers(manifest, split)

    @property
    def kept_share(self) -> float | None:
        """Share of the labelled pixels whose confidence is above the threshold, to hundredths of confidence, or above
        the limits of a quantile; None with a filter, without either, or without counts."""
        if self._limits is not None:
            return self._share_of_quantile
        counts, limit = self._statistics.get(COUNTS), self.keep.threshold
        if limit is None or not counts or self.keep.filter is not None:
            return None
        by_confidence = np.asarray(counts, np.int64).reshape(-1, HUNDREDTHS).sum(0)
        return float(by_confidence[int(limit * HUNDREDTHS + 1e-6) :].sum() / max(by_confidence.sum(), 1))

    @property
    def planes(self) -> dict[str, int]:
        """The channels of each array that :meth:`read_arrays` returns besides the labels, by name."""
        planes = {f"{self.task.name}.{SOFT}": 2 * self.soft_classes} if self.keep.soft else {}
        return planes | ({f"{self.task.name}.{WEIGHT}": 1} if self.keep.weighs else {})

    def keys(self, shard: int) -> set[str]:
        """Return the keys of a source shard that have a pseudo-label of this task."""
        reader = self.readers[shard]
        member = self.readers.manifest.label_member(self.task.name)
        return {reader.key(position) for position in range(len(reader)) if member in reader.members(position)}

    def read(self, shard: int, key: str) -> np.ndarray:
        """Return the label array of a key, in which pixels that are not kept are unlabelled."""
        return self.read_arrays(shard, key)[self.task.name]

    def read_arrays(self, shard: int, key: str) -> dict[str, np.ndarray]:
        """Return the label array of a key by the task's name, in which pixels that are not kept are unlabelled, and the
        arrays of :attr:`planes`: soft labels uint8 ``(h, w, 2k)``, of all pixels whether kept or not; weights uint8
        ``(H, W, 1)`` in steps of 1/255."""
        name, keep = self.task.name, self.keep
        arrays = self._decode(shard, key, soft=keep.soft)
        confidence = arrays.pop(f"{name}.{CONFIDENCE}", None)
        if keep.needs_confidence and confidence is None:
            message = "has no confidence to compare with a threshold"
            hint = f"set pseudo.{name}.keep=all"
            if keep.threshold is None and keep.quantile is None:
                message, hint = "has no confidence to weight by", f"set pseudo.{name}.weight=none"
            hint += ", or label.flip=true for the teacher"
            raise UserError(message, file=self.readers[shard].path, key=key, hint=hint)
        label, weight = arrays[name], self._weight(shard, key, arrays[name], confidence)
        limit = keep.threshold if self._limits is None else self._limits[self.task.storage.group_of(label)]
        if weight is not None:
            arrays[name] = self.task.storage.keep(label, weight > 0)
        elif limit is not None and confidence is not None:
            arrays[name] = self.task.storage.keep(label, confidence > limit)
        if keep.weighted:
            weight = confidence if weight is None else weight * confidence
        if weight is not None:
            arrays[f"{name}.{WEIGHT}"] = quantise_weights(weight)[..., None]
        return arrays

    def _weight(self, shard: int, key: str, label: np.ndarray, confidence: np.ndarray | None) -> np.ndarray | None:
        """Return the weights that the filter gives the pixels of a frame; None without a filter."""
        if self.keep.filter is None:
            return None
        try:
            return self.keep.filtered(self.task, label, confidence, self._statistics)
        except UserError as error:
            file, place = self.readers[shard].path, f"{key} (pseudo.{self.task.name}.keep)"
            raise UserError(error.what, file=file, key=place, hint=error.hint) from error

    def _decode(self, shard: int, key: str, soft: bool = False) -> dict[str, np.ndarray]:
        reader, unwanted = self.readers[shard], None if soft else f"{self.task.name}.{SOFT}.png"
        position = reader.positions[key]
        return reader.decode(position, lambda member: member.startswith(f"{self.task.name}.") and member != unwanted)

    def read_unfiltered(self, shard: int, key: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the label array of a key with all pixels kept, and its confidence ``(H, W)``, or None without one."""
        arrays = self._decode(shard, key)
        return arrays[self.task.name], arrays.get(f"{self.task.name}.{CONFIDENCE}")
