"""The report's section on pseudo-labels: what each teacher's confidence is worth, in charts and examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from analysis.report.charts import class_chart, reliability_chart, threshold_chart
from analysis.report.collect import Group, Part
from analysis.report.confidence import Checked, Frame, check, from_statistics, pooled
from analysis.report.pictures import Picture, class_key, drawing, photo, shades
from analysis.report.svg import percent
from analysis.results.headlines import HEADLINES, spell
from shards.keep import ALL
from shards.labels import LabelShards
from shards.manifest import NAME, Manifest
from shards.resize import resize_label, resize_rgb
from shards.tasks import Task
from trainer.experiment import TRAIN, Experiment
from trainer.pseudolabels.kept import BINS, column
from trainer.runs.folder import noted

EXAMPLES = 3
"""Frames of the highest confidence that are shown, and as many of the lowest."""


@dataclass
class ClassRow:
    """One class at the threshold: shares of all pixels, kept, right, and right of the kept; NaN where unknown."""

    name: str
    share: float
    kept: float
    right: float
    right_kept: float
    chart: Markup


@dataclass
class Labelled:
    """One teacher's pseudo-labels of one task, ready for the page."""

    group: Group
    task: Task
    checked: Checked
    seeds: int
    threshold: float
    charts: list[tuple[str, Markup]] = field(default_factory=list)
    classes: list[ClassRow] = field(default_factory=list)
    metrics: list[tuple[str, str]] = field(default_factory=list)
    key: list[tuple[str, str]] = field(default_factory=list)
    examples: list[tuple[str, list[tuple[str, list[Picture]]]]] = field(default_factory=list)

    @property
    def confidence_ramp(self) -> str:
        """The colours of confidence from 0 to 1."""
        return shades(np.linspace(0, 1, 256)[None].repeat(8, 0))

    @property
    def counted(self) -> float:
        """The threshold that shares are given at: the hundredth below it, where it is between two."""
        return column(self.threshold) / BINS

    @property
    def kept(self) -> float:
        return self._at(self.checked.counts.total.kept) if self.checked.counts else math.nan

    @property
    def right(self) -> float:
        """The share of the kept pixels that are right."""
        return self._at(self.checked.counts.total.accuracy) if self.checked.counts else math.nan

    def _at(self, values: np.ndarray) -> float:
        return float(values[0, column(self.threshold)])


def pseudo_labels(part: Part) -> list[Labelled]:
    """Every teacher's labels of every task, of those runs that still have them.

    Raises:
        UserError: when labels or data are damaged.
    """
    found = []
    for group in part.groups:
        runs = [run for run in group.runs if run.config and (run.folder / "labels" / TRAIN / NAME).exists()]
        teachers = [run.experiment(part.manifest) if part.manifest else Experiment.of_run(run.folder) for run in runs]
        manifests = [Manifest.load(teacher.labels, kind="labels") for teacher in teachers]
        for task in manifests[0].tasks if manifests else ():
            if part.manifest:
                checked = pooled([check(teacher, task) for teacher in teachers])
            else:
                checked = pooled([from_statistics(task, of.statistics[TRAIN][task.name]) for of in manifests])
            if not checked.labelled:
                continue
            limits = _thresholds(part, task.name, manifests) or [teachers[0].config.label.threshold]
            labelled = Labelled(group, task, checked, len(runs), limits[0])
            _draw(labelled, limits)
            if part.manifest:
                _show(labelled, teachers[0])
            found.append(labelled)
    return found


def _thresholds(part: Part, task: str, labels: Sequence[Manifest]) -> list[float]:
    """The thresholds that students hold these labels against: 0 where one keeps all, none of a share or a filter."""
    hashes = {of.sha256 for of in labels}
    found: set[float] = set()
    for run in (run for group in part.groups for run in group.runs if run.result.pseudo_labels.get(task)):
        if run.config and noted(run.folder).get(f"pseudo.{task}") in hashes:
            keep = Experiment.of_run(run.folder).config.pseudo[task].keep
            found |= {0.0} if keep == ALL else {keep} if isinstance(keep, float) else set()
    return sorted(found)


def _draw(labelled: Labelled, thresholds: list[float]) -> None:
    checked, task, number = labelled.checked, labelled.task, labelled.group.number
    if checked.counts is None:
        names = [name for name in HEADLINES if any(name in of for of in checked.metrics)]
        labelled.metrics = [(HEADLINES[name][0], spell([of[name] for of in checked.metrics], name)) for name in names]
        return
    counts = checked.counts
    known = bool(counts.known.sum())
    title = "Kept, and right of what is kept" if known else "Kept"
    labelled.charts = [(title, threshold_chart(title, counts, number, thresholds))]
    if known:
        title = f"Reliability: expected calibration error {counts.calibration_error:.3f}"
        labelled.charts.append((title, reliability_chart(title, counts, number)))
    pixels = counts.labelled.sum(1)
    kept, right = counts.kept, counts.accuracy
    place = column(labelled.threshold)
    labelled.classes = [
        ClassRow(
            task.classes[index],
            pixels[index] / pixels.sum(),
            kept[index, place],
            right[index, 0],
            right[index, place],
            class_chart(task.classes[index], kept[index], right[index], number),
        )
        for index in np.argsort(-pixels, kind="stable")
        if pixels[index]
    ]


def _show(labelled: Labelled, teacher: Experiment) -> None:
    """Add the examples of the most and the least confident frames."""
    most, least = labelled.checked.examples(EXAMPLES)
    labels = LabelShards(teacher.labels, teacher.manifest, TRAIN, labelled.task, None)
    readers = teacher.training_frames(pseudo=False).readers
    seen: list[np.ndarray] = []
    for title, frames in (("Most confident", most), ("Least confident", least)):
        shown = []
        for frame in frames:
            arrays = readers[frame.shard].decode(frame.position)
            label, confidence = labels.read_whole(frame.shard, frame.key)
            seen += [label, arrays.get(labelled.task.name, label)]
            shown.append((_caption(frame), _example(labelled, arrays, label, confidence)))
        if shown:
            labelled.examples.append((title, shown))
    labelled.key = class_key(labelled.task, seen)


def _caption(frame: Frame) -> str:
    known = "" if frame.accuracy is None else f", {percent(frame.accuracy)} right"
    return f"{frame.key}: confidence {frame.confidence:.2f}{known}"


def _example(
    labelled: Labelled, arrays: dict[str, np.ndarray], label: np.ndarray, confidence: np.ndarray | None
) -> list[Picture]:
    task, shape = labelled.task, label.shape[:2]
    size = shape[1], shape[0]
    rgb, truth = resize_rgb(arrays["rgb"], shape), arrays.get(task.name)
    pictures = [Picture(photo(rgb), size, "RGB", "RGB")]
    if confidence is not None:
        kept = task.storage.keep(label, confidence > labelled.threshold)
        caption = f"kept at {labelled.threshold:g}"
        pictures += [
            Picture(drawing(task, label, None), size, f"Pseudo-label: {task.storage.glance(label)}", "pseudo-label"),
            Picture(drawing(task, kept, None), size, f"What is kept: {task.storage.glance(kept)}", caption),
            Picture(shades(confidence), size, f"Confidence, {confidence.mean():.2f} on average", "confidence"),
        ]
    if truth is not None:
        truth = resize_label(truth, shape)
        pictures.append(Picture(drawing(task, truth, None), size, f"Truth: {task.storage.glance(truth)}", "truth"))
    return pictures
