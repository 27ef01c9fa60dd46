"""The panels of a report, after the paper's Figures 5 and 6: the predictions of every network for a few frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from analysis.report.collect import Group
from analysis.report.differences import outline
from analysis.report.pictures import Limits, Picture, class_key, drawing, photo, ramp
from analysis.report.svg import Axis
from analysis.results.groups import differing_settings
from analysis.results.paper import Paper
from analysis.shown import ComparisonFrames, Labels, limits
from shards.manifest import Manifest
from shards.tasks import Task
from trainer.conditions import measurement_of
from trainer.measurement import Measurement


@dataclass
class Key:
    """The meaning of a task's colours.

    Args:
        limits: for quantities, the smallest and the largest value of the scale.
        classes: for classes, the names and colours that occur.
        ramp, ticks: for quantities, the scale, and its texts at percentages of its length.
        legend: a picture that explains the colours, if the kind has one.
    """

    task: Task
    limits: Limits = None
    classes: list[tuple[str, str]] = field(default_factory=list)
    ramp: str = ""
    ticks: list[tuple[float, str]] = field(default_factory=list)
    legend: str = ""


@dataclass
class Panels:
    """Frames with their pictures: for each frame its name, its RGB, and one row of pictures per task.

    Args:
        comparisons: for each task whose students are compared, a phrase that names the networks.
    """

    keys: list[Key]
    comparisons: list[str]
    frames: list[tuple[str, Picture, list[tuple[Key, list[Picture | None]]]]]


def panels(groups: Sequence[Group], manifest: Manifest, count: int) -> Panels:
    """Draw the predictions of the first run of each group for a few validation frames.

    Raises:
        UserError: when a network or a frame cannot be read.
    """
    experiments = [group.first.experiment(manifest) for group in groups]
    comparison = ComparisonFrames(experiments, count)
    truths = comparison.truths()
    predictions = [comparison.predictions(experiment) for experiment in experiments]
    predictions_of = dict(zip(groups, predictions, strict=True))
    measurements = {group: measurement_of(experiment) for group, experiment in zip(groups, experiments, strict=True)}
    labels = [truth for _, truth in truths]
    keys = [_key(task, limits(task, labels), labels, predictions) for task in comparison.tasks]
    paper = Paper.load()
    pairs = {task.name: dict(baseline_pairs(groups, task.name, paper)) for task in comparison.tasks}
    frames = []
    for number, (name, truth) in enumerate(truths):
        frame_predictions = {group: labels[number] for group, labels in predictions_of.items()}
        rows = [(key, _row(key, frame_predictions, truth, pairs[key.task.name], measurements)) for key in keys]
        rgb = truth["rgb"]
        frames.append((name, Picture(photo(rgb), _size(rgb), f"RGB of frame {name}", "RGB"), rows))
    phrases = [
        f"{task.name}: where {_listed(pairs[task.name])} {task.storage.difference}"
        for task in comparison.tasks
        if pairs[task.name]
    ]
    return Panels(keys, phrases, frames)


def baseline_pairs(groups: Sequence[Group], task: str, paper: Paper) -> list[tuple[Group, Group]]:
    """Return each student (a network with pseudo-labels) with its baseline. That is, of the networks without
    pseudo-labels that have the same inputs and tasks and the most similar settings, the one that the paper compares
    with, or else the one with the same budget. A student without such a network is left out."""
    pairs = []
    of_task = [group for group in groups if task in group.result.tasks]
    students, baselines = ([group for group in of_task if _is_student(group) == is_one] for is_one in (True, False))
    for student in students:
        rivals = [
            other
            for other in baselines
            if {*other.result.inputs} == {*student.result.inputs} and {*other.result.tasks} == {*student.result.tasks}
        ]
        if rivals:
            named = [other for student_name, other in paper.comparisons if student_name == student.result.experiment]
            pairs.append((student, max(rivals, key=lambda other: _likeness(student, other, named))))
    return pairs


def _listed(pairs: Mapping[Group, Group]) -> str:
    return " or ".join(f"{student.name} and {baseline.name}" for student, baseline in pairs.items())


def _is_student(group: Group) -> bool:
    return any(group.result.pseudo_labels.values())


def _likeness(student: Group, other: Group, preferred: Sequence[str]) -> list[int]:
    result, other_result = student.result, other.result
    same = [result.budget == other_result.budget, result.normalise == other_result.normalise]
    return [-len(differing_settings(student.rows, other.rows)), other_result.experiment in preferred, *same]


def _row(
    key: Key,
    predictions: Mapping[Group, Labels],
    truth: Labels,
    pairs: Mapping[Group, Group],
    measurements: Mapping[Group, Measurement],
) -> list[Picture | None]:
    """Return the pictures of one task of one frame: the truth, if there is one, and each network's prediction."""
    task, target = key.task, truth.get(key.task.name)
    pictures: list[Picture | None] = [None if target is None else _picture(key, target, "truth")]
    for group, labels in predictions.items():
        if task.name not in labels:
            continue
        label, baseline, outlines = labels[task.name], pairs.get(group), ""
        if baseline and (baseline_label := predictions[baseline][task.name]).shape == label.shape:
            outlines = outline(task.storage.differ(label, baseline_label))
        detail = ""
        if target is not None and target.shape == label.shape:
            restricted = measurements[group].restrict(task, torch.from_numpy(label), torch.from_numpy(target))
            detail = task.storage.score(*(array.numpy() for array in restricted))
        if task.name in group.result.inputs:
            detail = "an input"
        pictures.append(_picture(key, label, group.name, detail=detail, number=group.number, outline=outlines))
    return pictures


def _picture(key: Key, label: np.ndarray, name: str, **options: Any) -> Picture:
    alt = f"{key.task.name}, {name}: {key.task.storage.glance(label)}"
    return Picture(drawing(key.task, label, key.limits), _size(label), alt, name, **options)


def _key(task: Task, scale: Limits, truths: list[Labels], predictions: list[list[Labels]]) -> Key:
    if scale:
        axis = Axis(*scale, 0, 100)
        return Key(task, scale, ramp=ramp(task, scale), ticks=[(axis(value), text) for value, text in axis.ticks(4)])
    labels = [frame[task.name] for frames in [truths, *predictions] for frame in frames if task.name in frame]
    legend = task.storage.legend()
    return Key(task, classes=class_key(task, labels), legend="" if legend is None else drawing(task, legend, None))


def _size(array: np.ndarray) -> tuple[int, int]:
    return array.shape[1], array.shape[0]
