"""IoU by class: a table with a bar in each cell, so that 40 classes of ten experiments remain readable."""

import statistics
from dataclasses import dataclass

from analysis.report.collect import Group, Part
from trainer.experiment import TRAIN
from trainer.runs.result import Result


@dataclass(frozen=True)
class Cell:
    """Mean, smallest and largest value over seeds, in 0..1; the mean is None if the class does not occur."""

    mean: float | None
    low: float = 0
    high: float = 0


@dataclass(frozen=True)
class ClassTable:
    """The classes of one task, the most frequent first if that is known.

    Args:
        rows: name of the class, share of the labelled training pixels (None: unknown), one cell per group.
        most: the largest mean, which has the longest bar.
    """

    task: str
    groups: list[Group]
    rows: list[tuple[str, float | None, list[Cell]]]
    most: float


def class_tables(part: Part) -> list[ClassTable]:
    """Return a table for each segmentation task that some run was measured on."""
    return [table for task in part.tasks if (table := _table(part, task))]


def _table(part: Part, task: str) -> ClassTable | None:
    groups = [group for group in part.groups if any(_iou(run.result, task) for run in group.runs)]
    if not groups:
        return None
    info = part.task(task)
    count = max(len(_iou(run.result, task)) for group in groups for run in group.runs)
    names = info.classes if info and len(info.classes) == count else tuple(f"class {i}" for i in range(count))
    shares = _shares(part, task, count)
    rows = [(names[i], shares[i], [_cell(group, task, i) for group in groups]) for i in range(count)]
    rows = [row for row in rows if row[1] or any(cell.mean is not None for cell in row[2])]
    rows.sort(key=lambda row: -(row[1] or 0))
    most = max((cell.mean for *_, cells in rows for cell in cells if cell.mean is not None), default=0)
    return ClassTable(task, groups, rows, most or 1)


def _iou(result: Result, task: str) -> list[float | None]:
    return result.metric(task, "iou") or []


def _cell(group: Group, task: str, index: int) -> Cell:
    ious = [iou[index] for run in group.runs if index < len(iou := _iou(run.result, task))]
    values = [value for value in ious if value is not None]
    return Cell(statistics.fmean(values), min(values), max(values)) if values else Cell(None)


def _shares(part: Part, task: str, count: int) -> list[float | None]:
    """Return the share of each class in the labelled pixels of the training split, or None where unknown."""
    pixels = part.manifest.statistics.get(TRAIN, {}).get(task, {}).get("pixels") if part.manifest else None
    if not isinstance(pixels, list) or len(pixels) != count or not sum(pixels):
        return [None] * count
    return [number / sum(pixels) for number in pixels]
