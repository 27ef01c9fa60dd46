"""Pseudo-labels against the truth: what a threshold keeps, how much of that is right, and whether confidence is honest.

A labelled frame's ground truth is outside the teacher's budget, so neither teacher nor student sees it; but as a
rule it lies in the data set's shards, and there it can be asked afterwards how good the pseudo-labels are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from shards.frames import Frames
from shards.labels import LabelShards
from shards.resize import resize_label
from shards.tasks import Task
from trainer.augment import to_tensors
from trainer.experiment import TRAIN, Experiment
from trainer.metrics import Metrics
from trainer.pseudolabels.kept import BINS, CONFIDENCE, bins, confidence_counts

FRAMES = 500
"""Frames of a teacher that are looked at; of more, that many spread evenly."""
THRESHOLDS = np.arange(BINS) / BINS


@dataclass
class Counts:
    """Pixels of a task's pseudo-labels by predicted class and confidence, int64 ``(C, 100)``: column ``b`` counts the
    confidences in ``(b, b + 1] / 100``.

    Args:
        labelled: all pixels.
        known: those whose truth is known.
        right: those of them where it is the pseudo-label.
        confidence: the sum of the confidences of those whose truth is known, over all classes, ``(100,)``.
    """

    labelled: np.ndarray
    known: np.ndarray
    right: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, task: Task, label: np.ndarray, confidence: np.ndarray, truth: np.ndarray | None) -> "Counts":
        """The counts of one frame; arrays ``(H, W)`` of one size."""

        def count(where: np.ndarray) -> np.ndarray:
            return np.reshape(confidence_counts(task, label[where], confidence[where]), (-1, BINS))

        known = np.zeros(label.shape, bool) if truth is None else task.storage.labelled(truth)
        sums = np.bincount(bins(confidence[known]), confidence[known].astype(np.float64), BINS)
        return cls(
            count(np.ones(label.shape, bool)),
            count(known),
            count(known if truth is None else known & ~task.storage.differ(label, truth)),
            sums,
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, of.name) + getattr(other, of.name) for of in fields(self)))

    @property
    def total(self) -> "Counts":
        """All classes together, as counts of one class."""
        labelled, known, right = (of.sum(0, keepdims=True) for of in (self.labelled, self.known, self.right))
        return Counts(labelled, known, right, self.confidence)

    @property
    def kept(self) -> np.ndarray:
        """The share of a class's pixels above each of :data:`THRESHOLDS`, ``(C, 100)``; NaN without pixels."""
        above = _above(self.labelled)
        return _ratio(above, above[:, :1])

    @property
    def accuracy(self) -> np.ndarray:
        """The share of the pixels above each threshold that are right, ``(C, 100)``; NaN where none is known."""
        return _ratio(_above(self.right), _above(self.known))

    def reliability(self, count: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Share of the pixels, mean confidence and accuracy in equal bins of confidence, over all classes and the
        pixels whose truth is known. Empty bins hold NaN. (Guo et al., "On Calibration of Modern Neural Networks", ICML
        2017, Figure 1.)"""
        known, right = (of.sum(0).reshape(count, -1).sum(1) for of in (self.known, self.right))
        sure = self.confidence.reshape(count, -1).sum(1)
        return _ratio(known, known.sum()), _ratio(sure, known), _ratio(right, known)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: the mean over pixels of |accuracy − confidence| of their bin (the same paper,
        Equation 3), with the bins of :meth:`reliability`."""
        share, confidence, accuracy = self.reliability()
        return float(np.nansum(share * np.abs(accuracy - confidence)))


@dataclass
class Frame:
    """One labelled frame: where it stands, the mean confidence of its pixels, and the accuracy where it is known."""

    shard: int
    position: int
    key: str
    confidence: float
    accuracy: float | None


@dataclass
class Checked:
    """What was found of one task's pseudo-labels.

    Args:
        counts: None for a task without a confidence.
        metrics: of the labels of such a task against the truth, of each seed where it is known.
        labelled, looked_at, with_truth: numbers of frames.
        frames: those looked at, where there is a confidence.
    """

    task: Task
    counts: Counts | None
    metrics: list[dict[str, Any]]
    labelled: int
    looked_at: int = 0
    with_truth: int = 0
    frames: list[Frame] = field(default_factory=list)

    def __add__(self, other: "Checked") -> "Checked":
        """The same with another seed's labels: counts are pooled, and examples stay those of the first."""
        return replace(
            self,
            counts=self.counts + other.counts if self.counts and other.counts else self.counts or other.counts,
            metrics=self.metrics + other.metrics,
            labelled=self.labelled + other.labelled,
            looked_at=self.looked_at + other.looked_at,
            with_truth=self.with_truth + other.with_truth,
        )

    def examples(self, count: int) -> tuple[list[Frame], list[Frame]]:
        """The frames of the highest and of the lowest mean confidence, the extremes first."""
        ordered = sorted(self.frames, key=lambda frame: -frame.confidence)
        count = min(count, len(ordered) // 2)
        return ordered[:count], ordered[::-1][:count]


def check(teacher: Experiment, task: Task, frames: int = FRAMES) -> Checked:
    """Look at the pseudo-labels of a teacher that a student would see: those of frames that do not show it the task.

    Raises:
        UserError: when labels or data are damaged, or do not belong together.
    """
    labels = LabelShards(teacher.labels, teacher.manifest, TRAIN, task, None)
    split = teacher.training_frames(pseudo=False)
    places = list(_places(split, labels))
    chosen = [places[int(i)] for i in np.linspace(0, len(places) - 1, min(frames, len(places))).round()]
    found = Checked(task, None, [], len(places), len(chosen))
    metrics, measurement = Metrics([task]), teacher.measurement
    member = split.manifest.label_member(task.name)
    for shard, position, key in chosen:
        label, confidence = labels.read_whole(shard, key)
        truth = split.readers[shard].decode(position, member.__eq__).get(task.name)
        if truth is not None:
            truth = resize_label(truth, label.shape[:2])
            found.with_truth += 1
        if confidence is not None and task.storage.confident:
            counts = Counts.of(task, label, confidence, truth)
            found.counts = found.counts + counts if found.counts else counts
            count = int(counts.known.sum())
            accuracy = int(counts.right.sum()) / count if count else None
            found.frames.append(Frame(shard, position, key, float(confidence.mean()), accuracy))
        elif truth is not None:
            given = torch.from_numpy(label)[None]
            restricted, known = measurement.restrict(task, given, _batch(task, truth))
            metrics.update({task.name: restricted}, {task.name: known})
    if found.counts is None and found.with_truth:
        found.metrics = [metrics.compute()[task.name]]
    return found


def from_statistics(task: Task, statistics: dict[str, Any]) -> Checked:
    """What the labels' own manifest tells where the data set cannot be read: fractions kept, and no accuracy."""
    found = Checked(task, None, [], statistics["frames"])
    if CONFIDENCE in statistics and task.storage.confident:
        labelled = np.reshape(statistics[CONFIDENCE], (-1, BINS))
        found.counts = Counts(labelled, np.zeros_like(labelled), np.zeros_like(labelled), np.zeros(BINS))
    return found


def _places(frames: Frames, labels: LabelShards) -> Iterator[tuple[int, int, str]]:
    """Shard, position and key of each frame with a pseudo-label that stands in for a label out of the budget."""
    hidden = frames.by_shard(~frames.visible[labels.task.name])
    for shard, positions in enumerate(hidden):
        keys = labels.keys(shard)
        if keys:
            named = ((int(position), frames.readers[shard].key(int(position))) for position in positions)
            yield from ((shard, position, key) for position, key in named if key in keys)


def _batch(task: Task, label: np.ndarray) -> torch.Tensor:
    tensors = to_tensors({"rgb": np.zeros((*label.shape[:2], 3), np.uint8), task.name: label}, [task])
    return tensors[task.name][None]


def _above(counts: np.ndarray) -> np.ndarray:
    """Pixels above each threshold: sums of a column and all to its right."""
    return counts[:, ::-1].cumsum(1)[:, ::-1]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def pooled(found: Sequence[Checked]) -> Checked:
    """Several seeds' labels together."""
    first, *others = found
    for other in others:
        first = first + other
    return first
