"""The charts of runs in a report: losses and validation during training, and final results."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from analysis.report.charts import Dots, Line, dot_chart, line_chart
from analysis.report.collect import Group, Part, Run
from analysis.results.headlines import METRICS, SHOWN

X_TITLE = "step"
_OTHER_KEYS = ("step", "epoch", "lr", "loss", "weighed", "speed", "skipped")


@dataclass
class Curves:
    """Charts with their titles.

    Args:
        results: one dot per run for each metric of the table.
        losses, validation: lines over steps.
        schedule: lines of learning rate and speed over steps.
        without_log: runs whose ``metrics.jsonl`` is gone.
    """

    results: list[tuple[str, Markup]] = field(default_factory=list)
    losses: list[tuple[str, Markup]] = field(default_factory=list)
    validation: list[tuple[str, Markup]] = field(default_factory=list)
    schedule: list[tuple[str, Markup]] = field(default_factory=list)
    without_log: list[str] = field(default_factory=list)


def curves(part: Part) -> Curves:
    """Return the charts of a part's runs."""
    charts = Curves(results=list(_results(part)))
    charts.without_log = [
        f"{group.name}, seed {run.seed}" for group in part.groups for run in group.runs if not run.lines
    ]
    for title, path in [("Loss, all tasks", ("loss", "total")), *((f"Loss, {t}", ("loss", t)) for t in part.tasks)]:
        charts.losses += _chart(title, part.groups, path)
    for split in _splits(part):
        for task, metric in _shown(part):
            name, factor, _ = SHOWN[metric]
            title = _title(part, task, metric, f"{name} on {split} frames")
            charts.validation += _chart(title, part.groups, (split, task, metric), factor)
    charts.schedule += _chart("Learning rate", part.groups, ("lr",))
    charts.schedule += _chart("Frames a second", part.groups, ("speed", "samples_per_second"))
    if len(part.tasks) == 1:
        del charts.losses[1:]  # the only task's loss is the total
    return charts


def _results(part: Part) -> Iterator[tuple[str, Markup]]:
    for task, metric in _shown(part):
        name, factor, digits = SHOWN[metric]
        rows = [
            Dots(group.name, group.number, group.scores(task, metric), task in group.result.inputs)
            for group in part.groups
            if group.scores(task, metric)
        ]
        title = _title(part, task, metric, name)
        yield title, dot_chart(title, rows, factor, digits)


def _shown(part: Part) -> list[tuple[str, str]]:
    """Return tasks and metrics of the table that some run has."""
    return [
        (task, metric)
        for task in part.tasks
        for metric in SHOWN
        if any(group.scores(task, metric) for group in part.groups)
    ]


def _title(part: Part, task: str, metric: str, name: str) -> str:
    info = part.task(task)
    unit = METRICS[metric].unit_suffix(info.unit if info else "")
    better = "lower" if METRICS[metric].smaller_is_better else "higher"
    return f"{task}: {name}{unit}, {better} is better"


def _splits(part: Part) -> list[str]:
    """Return the splits that runs were validated on during training: ``val`` or ``dev``."""
    keys = (key for group in part.groups for run in group.runs for line in run.lines for key in line)
    return [key for key in dict.fromkeys(keys) if key not in _OTHER_KEYS]


def _chart(title: str, groups: Sequence[Group], path: tuple[str, ...], factor: float = 1) -> list[tuple[str, Markup]]:
    """Return the chart of one value of all runs; none if no run has it."""
    lines = []
    for group in groups:
        for run in group.runs:
            points = [
                (line["step"], factor * value) for line in run.lines if (value := _value_at(line, path)) is not None
            ]
            if points:
                steps, values = zip(*points, strict=True)
                lines.append(Line(group.name, group.number, steps, values, _tooltip(group, run, values[-1])))
    return [(title, line_chart(title, lines, X_TITLE))] if lines else []


def _tooltip(group: Group, run: Run, last: float) -> str:
    return f"{group.name}, seed {run.seed}: ends at {last:.4g}"


def _value_at(line: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """Return the number at a path of keys in a line, if it is finite."""
    value: Any = line
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None
