"""The report's section on pseudo-labels: the quality of each teacher's labels, in charts and examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from analysis.report.charts import class_chart, reliability_chart, threshold_chart
from analysis.report.collect import Group, Part
from analysis.report.confidence import Frame, LabelQuality, from_statistics, measure_quality, pool
from analysis.report.pictures import Picture, class_key, drawing, photo, shades
from analysis.report.svg import percent
from analysis.results.headlines import SHOWN, format_values
from shards.dataset import ShardDataset
from shards.keep import Keep
from shards.labels import LabelShards
from shards.manifest import NAME, Manifest
from shards.resize import resize_label, resize_rgb
from shards.tasks import Task
from trainer.experiment import TRAIN, Experiment
from trainer.pseudolabels.kept import BINS, column
from trainer.runs.folder import data_hashes

EXAMPLES = 3
"""Number of frames shown of the highest confidence, and of the lowest."""


@dataclass
class ClassRow:
    """One class at the threshold: share of all pixels, share kept, accuracy, accuracy of the kept; NaN if unknown, or
    if there is no threshold."""

    name: str
    share: float
    kept: float
    accuracy: float
    accuracy_kept: float
    chart: Markup


@dataclass
class PseudoLabelSection:
    """One teacher's pseudo-labels of one task, as the page shows them.

    Args:
        threshold: the smallest of its students; None if they keep a share of the pixels or have a filter. Without a
            student it is ``label.threshold``.
        selections: what students keep that have no threshold, in words.
    """

    group: Group
    task: Task
    quality: LabelQuality
    seeds: int
    threshold: float | None
    selections: list[str] = field(default_factory=list)
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
    def counted_threshold(self) -> float | None:
        """The threshold of the shares, which is rounded down to whole hundredths."""
        return None if self.threshold is None else column(self.threshold) / BINS

    @property
    def kept(self) -> float:
        """The share of the pixels that are kept."""
        return self._at(self.quality.counts.total.kept) if self.quality.counts else math.nan

    @property
    def accuracy(self) -> float:
        """The share of the kept pixels that are right."""
        return self._at(self.quality.counts.total.accuracy) if self.quality.counts else math.nan

    def _at(self, values: np.ndarray) -> float:
        return math.nan if self.threshold is None else float(values[0, column(self.threshold)])


def pseudo_labels(part: Part) -> list[PseudoLabelSection]:
    """Return a section for each teacher and task, of the runs that still have their labels.

    Raises:
        UserError: when labels or data are damaged.
    """
    sections = []
    for group in part.groups:
        teachers = _teachers(part, group)
        manifests = [Manifest.load(teacher.labels, kind="labels") for teacher in teachers]
        for task in manifests[0].tasks if manifests else ():
            if part.manifest:
                quality = pool([measure_quality(teacher, task) for teacher in teachers])
            else:
                quality = pool([from_statistics(task, manifest.statistics[TRAIN][task.name]) for manifest in manifests])
            if not quality.labelled:
                continue
            thresholds, selections = _selections(part, task.name, manifests)
            if not (thresholds or selections):  # there is no student
                thresholds = [teachers[0].config.label.threshold]
            section = PseudoLabelSection(group, task, quality, len(teachers), min(thresholds, default=None), selections)
            _add_charts(section, thresholds)
            if part.manifest:
                _add_examples(section, teachers[0])
            sections.append(section)
    return sections


def _teachers(part: Part, group: Group) -> list[Experiment]:
    """Return the experiments of a group's runs that still have their labels, in ``train`` or ``train-all``."""
    runs = [run for run in group.runs if run.config and any((run.folder / "labels").glob(f"*/{NAME}"))]
    teachers = [run.experiment(part.manifest) if part.manifest else Experiment.of_run(run.folder) for run in runs]
    return [teacher for teacher in teachers if (teacher.labels / NAME).exists()]


def _selections(part: Part, task: str, labels: Sequence[Manifest]) -> tuple[list[float], list[str]]:
    """Return the thresholds of the students of these labels, 0 if one keeps all, and in words what the others keep."""
    hashes = {sha256 for manifest in labels for sha256 in (manifest.identity, manifest.sha256)}  # sha256: of older runs
    thresholds: set[float] = set()
    selections: set[str] = set()
    for run in (run for group in part.groups for run in group.runs if run.result.pseudo_labels.get(task)):
        if run.config and data_hashes(run.folder).get(f"pseudo.{task}") in hashes:
            keep = Experiment.of_run(run.folder).config.pseudo[task].keep
            if isinstance(keep, str) and ":" in keep:
                selections.add(f"the pixels that its filter {keep} selects")
            elif Keep.of(keep).quantile is not None:
                selections.add(f"the most confident {keep} of the pixels of each class")
            else:
                thresholds.add(Keep.of(keep).threshold or 0.0)
    return sorted(thresholds), sorted(selections)


def _add_charts(section: PseudoLabelSection, thresholds: list[float]) -> None:
    quality, task, number = section.quality, section.task, section.group.number
    if quality.counts is None:
        names = [name for name in SHOWN if any(name in metrics for metrics in quality.metrics)]
        section.metrics = [
            (SHOWN[name][0], format_values([metrics[name] for metrics in quality.metrics], name)) for name in names
        ]
        return
    counts = quality.counts
    has_truth = bool(counts.with_truth.sum())
    title = "Kept, and right of what is kept" if has_truth else "Kept"
    section.charts = [(title, threshold_chart(title, counts, number, thresholds))]
    if has_truth:
        title = f"Reliability: expected calibration error {counts.calibration_error:.3f}"
        section.charts.append((title, reliability_chart(title, counts, number)))
    pixels = counts.labelled.sum(1)
    kept, accuracy = counts.kept, counts.accuracy
    unknown = np.full(len(pixels), np.nan)
    kept_at = accuracy_at = unknown
    if section.threshold is not None:
        kept_at, accuracy_at = kept[:, column(section.threshold)], accuracy[:, column(section.threshold)]
    section.classes = [
        ClassRow(
            task.classes[index],
            pixels[index] / pixels.sum(),
            kept_at[index],
            accuracy[index, 0],
            accuracy_at[index],
            class_chart(task.classes[index], kept[index], accuracy[index], number),
        )
        for index in np.argsort(-pixels, kind="stable")
        if pixels[index]
    ]


def _add_examples(section: PseudoLabelSection, teacher: Experiment) -> None:
    """Add examples of the most and the least confident frames to a section."""
    most, least = section.quality.examples(EXAMPLES)
    labels = LabelShards(teacher.labels, teacher.manifest, TRAIN, section.task, None)
    data = ShardDataset(teacher.manifest, TRAIN)
    arrays_shown: list[np.ndarray] = []
    for title, frames in (("Most confident", most), ("Least confident", least)):
        examples = []
        for frame in frames:
            arrays = data[frame.index]
            label, confidence = labels.read_unfiltered(data.locate(frame.index)[0], frame.key)
            arrays_shown += [label, arrays.get(section.task.name, label)]
            examples.append((_caption(frame), _example(section, arrays, label, confidence)))
        if examples:
            section.examples.append((title, examples))
    section.key = class_key(section.task, arrays_shown)


def _caption(frame: Frame) -> str:
    accuracy = "" if frame.accuracy is None else f", {percent(frame.accuracy)} right"
    return f"{frame.key}: confidence {frame.confidence:.2f}{accuracy}"


def _example(
    section: PseudoLabelSection, arrays: dict[str, np.ndarray], label: np.ndarray, confidence: np.ndarray | None
) -> list[Picture]:
    task, shape = section.task, label.shape[:2]
    size = shape[1], shape[0]
    rgb, truth = resize_rgb(arrays["rgb"], shape), arrays.get(task.name)
    pictures = [Picture(photo(rgb), size, "RGB", "RGB")]
    if confidence is not None:
        text = f"Pseudo-label: {task.storage.glance(label)}"
        pictures.append(Picture(drawing(task, label, None), size, text, "pseudo-label"))
        if section.threshold is not None:
            kept = task.storage.keep(label, confidence > section.threshold)
            text, caption = f"What is kept: {task.storage.glance(kept)}", f"kept at {section.threshold:g}"
            pictures.append(Picture(drawing(task, kept, None), size, text, caption))
        text = f"Confidence, {confidence.mean():.2f} on average"
        pictures.append(Picture(shades(confidence), size, text, "confidence"))
    if truth is not None:
        truth = resize_label(truth, shape)
        pictures.append(Picture(drawing(task, truth, None), size, f"Truth: {task.storage.glance(truth)}", "truth"))
    return pictures
