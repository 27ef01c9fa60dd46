"""The panels of a report, after the paper's Figures 5 and 6: a few validation frames as every network sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from analysis.report.collect import Group
from analysis.report.differences import outline
from analysis.report.pictures import Limits, Picture, class_key, drawing, photo, ramp
from analysis.report.svg import Axis
from analysis.results.groups import differing
from analysis.results.paper import Paper
from analysis.shown import Labels, Shown, limits
from shards.manifest import Manifest
from shards.tasks import Task
from trainer.measurement import Measurement


@dataclass
class Key:
    """What a task's colours mean.

    Args:
        limits: the smallest and the largest value of the scale, of quantities.
        classes: names and colours that occur, where colours have names.
        ramp, ticks: the scale, and its texts at percentages of its length, of quantities.
        legend: a picture, where one explains the colours.
    """

    task: Task
    limits: Limits = None
    classes: list[tuple[str, str]] = field(default_factory=list)
    ramp: str = ""
    ticks: list[tuple[float, str]] = field(default_factory=list)
    legend: str = ""


@dataclass
class Panels:
    """Frames with their pictures: of each frame its name, its RGB, and a row of pictures a task.

    Args:
        compared: for each task whose students are compared, a phrase that says with what.
    """

    keys: list[Key]
    compared: list[str]
    frames: list[tuple[str, Picture, list[tuple[Key, list[Picture | None]]]]]


def panels(groups: Sequence[Group], manifest: Manifest, count: int) -> Panels:
    """Draw what the first run of each group says of a few validation frames.

    Raises:
        UserError: when a network or a frame cannot be read.
    """
    experiments = [group.first.experiment(manifest) for group in groups]
    shown = Shown(experiments, count)
    truths = shown.truths()
    found = [shown.predictions(each) for each in experiments]
    said = dict(zip(groups, found, strict=True))
    measured = {group: each.measurement for group, each in zip(groups, experiments, strict=True)}
    labels = [of for _, of in truths]
    keys = [_key(task, limits(task, labels), labels, found) for task in shown.tasks]
    paper = Paper.load()
    pairs = {task.name: dict(compared(groups, task.name, paper)) for task in shown.tasks}
    frames = []
    for number, (name, truth) in enumerate(truths):
        of_frame = {group: labels[number] for group, labels in said.items()}
        rows = [(key, _row(key, of_frame, truth, pairs[key.task.name], measured)) for key in keys]
        rgb = truth["rgb"]
        frames.append((name, Picture(photo(rgb), _size(rgb), f"RGB of frame {name}", "RGB"), rows))
    phrases = [
        f"{task.name}: where {_listed(pairs[task.name])} {task.storage.difference}"
        for task in shown.tasks
        if pairs[task.name]
    ]
    return Panels(keys, phrases, frames)


def compared(groups: Sequence[Group], task: str, paper: Paper) -> list[tuple[Group, Group]]:
    """Students, the networks with pseudo-labels, each with its baseline: of the networks without any that have its
    inputs and tasks and settings most like its own, the one that the paper compares it with, or else the one whose
    budget is its own. A student without such a network is left out."""
    pairs = []
    of_task = [group for group in groups if task in group.result.tasks]
    students, others = ([group for group in of_task if _is_student(group) == is_one] for is_one in (True, False))
    for student in students:
        rivals = [
            other
            for other in others
            if {*other.result.inputs} == {*student.result.inputs} and {*other.result.tasks} == {*student.result.tasks}
        ]
        if rivals:
            named = [other for one, other in paper.comparisons if one == student.result.experiment]
            pairs.append((student, max(rivals, key=lambda other: _likeness(student, other, named))))
    return pairs


def _listed(pairs: Mapping[Group, Group]) -> str:
    return " or ".join(f"{student.name} and {baseline.name}" for student, baseline in pairs.items())


def _is_student(group: Group) -> bool:
    return any(group.result.pseudo_labels.values())


def _likeness(student: Group, other: Group, named: Sequence[str]) -> list[int]:
    one, two = student.result, other.result
    same = [one.budget == two.budget, one.normalise == two.normalise]
    return [-len(differing(student.rows, other.rows)), two.experiment in named, *same]


def _row(
    key: Key,
    said: Mapping[Group, Labels],
    truth: Labels,
    pairs: Mapping[Group, Group],
    measured: Mapping[Group, Measurement],
) -> list[Picture | None]:
    """One task of one frame: the truth, None where there is none, and what each network with the task says."""
    task, known = key.task, truth.get(key.task.name)
    pictures: list[Picture | None] = [None if known is None else _picture(key, known, "truth")]
    for group, labels in said.items():
        if task.name not in labels:
            continue
        label, baseline, outlines = labels[task.name], pairs.get(group), ""
        if baseline and (other := said[baseline][task.name]).shape == label.shape:
            outlines = outline(task.storage.differ(label, other))
        detail = ""
        if known is not None and known.shape == label.shape:
            compared = measured[group].restrict(task, torch.from_numpy(label), torch.from_numpy(known))
            detail = task.storage.score(*(of.numpy() for of in compared))
        if task.name in group.result.inputs:
            detail = "an input"
        pictures.append(_picture(key, label, group.name, detail=detail, number=group.number, outline=outlines))
    return pictures


def _picture(key: Key, label: np.ndarray, name: str, **options: Any) -> Picture:
    alt = f"{key.task.name}, {name}: {key.task.storage.glance(label)}"
    return Picture(drawing(key.task, label, key.limits), _size(label), alt, name, **options)


def _key(task: Task, scale: Limits, truths: list[Labels], said: list[list[Labels]]) -> Key:
    if scale:
        axis = Axis(*scale, 0, 100)
        return Key(task, scale, ramp=ramp(task, scale), ticks=[(axis(value), text) for value, text in axis.ticks(4)])
    labels = [of[task.name] for frames in [truths, *said] for of in frames if task.name in of]
    legend = task.storage.legend()
    return Key(task, classes=class_key(task, labels), legend="" if legend is None else drawing(task, legend, None))


def _size(array: np.ndarray) -> tuple[int, int]:
    return array.shape[1], array.shape[0]
