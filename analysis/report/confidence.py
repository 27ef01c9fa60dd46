"""Pseudo-labels against the truth: the share a threshold keeps, its accuracy, and the calibration of confidence.

A labelled frame's ground truth is outside the teacher's budget, so neither teacher nor student sees it. But it is
usually in the data set's shards, where it can be used afterwards to measure the quality of the pseudo-labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from shards.dataset import ShardDataset
from shards.evenly import evenly_spaced
from shards.labels import LabelShards
from shards.resize import resize_label
from shards.tasks import Task
from trainer.augment import to_tensors
from trainer.conditions import measurement_of
from trainer.experiment import TRAIN, Experiment
from trainer.metrics import Metrics
from trainer.pseudolabels.kept import BINS, CONFIDENCE, bins, confidence_counts

FRAMES = 500
"""Maximum frames of a teacher to inspect; if there are more, they are spread evenly."""
THRESHOLDS = np.arange(BINS) / BINS


@dataclass
class Counts:
    """Pixels of a task's pseudo-labels by predicted class and confidence, int64 ``(C, 100)``: column ``b`` counts the
    confidences in ``(b, b + 1] / 100``.

    Args:
        labelled: all pixels.
        with_truth: pixels with ground truth.
        correct: pixels whose ground truth equals the pseudo-label.
        confidence: sum of the confidences of pixels with ground truth, over all classes, ``(100,)``.
    """

    labelled: np.ndarray
    with_truth: np.ndarray
    correct: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, task: Task, label: np.ndarray, confidence: np.ndarray, truth: np.ndarray | None) -> "Counts":
        """Return the counts of one frame; arrays are ``(H, W)`` of one size."""

        def count(where: np.ndarray) -> np.ndarray:
            return np.reshape(confidence_counts(task, label[where], confidence[where]), (-1, BINS))

        with_truth = np.zeros(label.shape, bool) if truth is None else task.storage.labelled(truth)
        sums = np.bincount(bins(confidence[with_truth]), confidence[with_truth].astype(np.float64), BINS)
        return cls(
            count(np.ones(label.shape, bool)),
            count(with_truth),
            count(with_truth if truth is None else with_truth & ~task.storage.differ(label, truth)),
            sums,
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def total(self) -> "Counts":
        """All classes together, as counts of one class."""
        by_class = (self.labelled, self.with_truth, self.correct)
        labelled, with_truth, correct = (counts.sum(0, keepdims=True) for counts in by_class)
        return Counts(labelled, with_truth, correct, self.confidence)

    @property
    def kept(self) -> np.ndarray:
        """The share of each class's pixels above each of :data:`THRESHOLDS`, ``(C, 100)``; NaN without pixels."""
        above = _above(self.labelled)
        return _ratio(above, above[:, :1])

    @property
    def accuracy(self) -> np.ndarray:
        """The accuracy of the pixels above each threshold, ``(C, 100)``; NaN without ground truth."""
        return _ratio(_above(self.correct), _above(self.with_truth))

    def reliability(self, count: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the share of pixels, mean confidence and accuracy in equal bins of confidence, over all classes and
        the pixels with ground truth. Empty bins are NaN. (Guo et al., "On Calibration of Modern Neural Networks", ICML
        2017, Figure 1.)"""
        with_truth, correct = (counts.sum(0).reshape(count, -1).sum(1) for counts in (self.with_truth, self.correct))
        confidence = self.confidence.reshape(count, -1).sum(1)
        return _ratio(with_truth, with_truth.sum()), _ratio(confidence, with_truth), _ratio(correct, with_truth)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: the mean over pixels of |accuracy − confidence| of their bin (the same paper,
        Equation 3), with the bins of :meth:`reliability`."""
        share, confidence, accuracy = self.reliability()
        return float(np.nansum(share * np.abs(accuracy - confidence)))


@dataclass
class Frame:
    """One labelled frame: its index in the training split, the mean confidence of its pixels, and the accuracy if its
    truth is known."""

    index: int
    key: str
    confidence: float
    accuracy: float | None


@dataclass
class LabelQuality:
    """The quality of one task's pseudo-labels.

    Args:
        counts: None for a task without a confidence.
        metrics: for such a task, metrics of the labels against the truth, one entry per seed with truth.
        labelled, inspected, with_truth: numbers of frames.
        frames: the inspected frames, if there is a confidence.
    """

    task: Task
    counts: Counts | None
    metrics: list[dict[str, Any]]
    labelled: int
    inspected: int = 0
    with_truth: int = 0
    frames: list[Frame] = field(default_factory=list)

    def __add__(self, other: "LabelQuality") -> "LabelQuality":
        """Add another seed's labels: counts are summed, and the example frames stay those of the first."""
        return replace(
            self,
            counts=self.counts + other.counts if self.counts and other.counts else self.counts or other.counts,
            metrics=self.metrics + other.metrics,
            labelled=self.labelled + other.labelled,
            inspected=self.inspected + other.inspected,
            with_truth=self.with_truth + other.with_truth,
        )

    def examples(self, count: int) -> tuple[list[Frame], list[Frame]]:
        """Return the frames of the highest and of the lowest mean confidence, the extremes first."""
        ordered = sorted(self.frames, key=lambda frame: -frame.confidence)
        count = min(count, len(ordered) // 2)
        return ordered[:count], ordered[::-1][:count]


def measure_quality(teacher: Experiment, task: Task, frames: int = FRAMES) -> LabelQuality:
    """Measure the pseudo-labels that a student would see: those of frames that do not show it the task.

    Raises:
        UserError: when labels or data are damaged, or do not belong together.
    """
    labels = LabelShards(teacher.labels, teacher.manifest, TRAIN, task, None)
    data = ShardDataset(teacher.manifest, TRAIN)  # with the labels outside the teacher's budget
    candidates = list(_labelled(data, labels, teacher.training_frames(pseudo=False).visible[task.name]))
    chosen = [candidates[index] for index in evenly_spaced(len(candidates), frames)]
    quality = LabelQuality(task, None, [], len(candidates), len(chosen))
    metrics, measurement = Metrics([task]), measurement_of(teacher)
    for index, key in chosen:
        label, confidence = labels.read_unfiltered(data.locate(index)[0], key)
        truth = data.label(index, task.name)
        if truth is not None:
            truth = resize_label(truth, label.shape[:2])
            quality.with_truth += 1
        if confidence is not None and task.storage.confident:
            counts = Counts.of(task, label, confidence, truth)
            quality.counts = quality.counts + counts if quality.counts else counts
            count = int(counts.with_truth.sum())
            accuracy = int(counts.correct.sum()) / count if count else None
            quality.frames.append(Frame(index, key, float(confidence.mean()), accuracy))
        elif truth is not None:
            prediction = torch.from_numpy(label)[None]
            restricted, target = measurement.restrict(task, prediction, _batch(task, truth))
            metrics.update({task.name: restricted}, {task.name: target})
    if quality.counts is None and quality.with_truth:
        quality.metrics = [metrics.compute()[task.name]]
    return quality


def from_statistics(task: Task, statistics: dict[str, Any]) -> LabelQuality:
    """Return the quality known from the labels' manifest when the data set cannot be read: without accuracy."""
    quality = LabelQuality(task, None, [], statistics["frames"])
    if CONFIDENCE in statistics and task.storage.confident:
        labelled = np.reshape(statistics[CONFIDENCE], (-1, BINS))
        quality.counts = Counts(labelled, np.zeros_like(labelled), np.zeros_like(labelled), np.zeros(BINS))
    return quality


def _labelled(data: ShardDataset, labels: LabelShards, visible: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield index and key of each sample of a whole split whose pseudo-label replaces a label that is not visible."""
    for shard in range(len(data.counts)):
        if keys := labels.keys(shard):
            positions, first = data.frames.readers[shard].positions, data.shard(shard).start
            pairs = sorted((first + positions[key], key) for key in keys)
            yield from ((index, key) for index, key in pairs if not visible[index])


def _batch(task: Task, label: np.ndarray) -> torch.Tensor:
    tensors = to_tensors({"rgb": np.zeros((*label.shape[:2], 3), np.uint8), task.name: label}, [task])
    return tensors[task.name][None]


def _above(counts: np.ndarray) -> np.ndarray:
    """Return the pixels above each threshold: sums of a column and all to its right."""
    return counts[:, ::-1].cumsum(1)[:, ::-1]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def pool(qualities: Sequence[LabelQuality]) -> LabelQuality:
    """Return the quality of the labels of several seeds together."""
    first, *others = qualities
    for other in others:
        first = first + other
    return first
