"""Which charts a report draws of runs: losses and validation while they trained, and what they ended at."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from analysis.report.charts import Dots, Line, dot_chart, line_chart
from analysis.report.collect import Group, Part, Run
from analysis.results.headlines import HEADLINES, SMALLER_IS_BETTER

X_TITLE = "step"
_NOT_VALIDATION = ("step", "epoch", "lr", "loss", "weighed", "speed", "skipped")


@dataclass
class Curves:
    """Charts with their titles.

    Args:
        results: a dot a run for each metric that the table shows.
        losses, validation: lines over steps.
        conduct: learning rate and speed, of less interest.
        silent: runs whose ``metrics.jsonl`` is gone.
    """

    results: list[tuple[str, Markup]] = field(default_factory=list)
    losses: list[tuple[str, Markup]] = field(default_factory=list)
    validation: list[tuple[str, Markup]] = field(default_factory=list)
    conduct: list[tuple[str, Markup]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def curves(part: Part) -> Curves:
    """The charts of a part's runs."""
    found = Curves(results=list(_results(part)))
    found.silent = [f"{group.name}, seed {run.seed}" for group in part.groups for run in group.runs if not run.lines]
    for title, path in [("Loss, all tasks", ("loss", "total")), *((f"Loss, {t}", ("loss", t)) for t in part.tasks)]:
        found.losses += _chart(title, part.groups, path)
    for split in _splits(part):
        for task, metric in _headlines(part):
            name, factor, _ = HEADLINES[metric]
            title = _title(part, task, metric, f"{name} on {split} frames")
            found.validation += _chart(title, part.groups, (split, task, metric), factor)
    found.conduct += _chart("Learning rate", part.groups, ("lr",))
    found.conduct += _chart("Frames a second", part.groups, ("speed", "samples_per_second"))
    if len(part.tasks) == 1:
        del found.losses[1:]  # the only task's loss is the total
    return found


def _results(part: Part) -> Iterator[tuple[str, Markup]]:
    for task, metric in _headlines(part):
        name, factor, digits = HEADLINES[metric]
        rows = [
            Dots(group.name, group.number, group.scores(task, metric), task in group.result.inputs)
            for group in part.groups
            if group.scores(task, metric)
        ]
        title = _title(part, task, metric, name)
        yield title, dot_chart(title, rows, factor, digits)


def _headlines(part: Part) -> list[tuple[str, str]]:
    """Tasks and metrics of the table that some run has."""
    return [
        (task, metric)
        for task in part.tasks
        for metric in HEADLINES
        if any(group.scores(task, metric) for group in part.groups)
    ]


def _title(part: Part, task: str, metric: str, name: str) -> str:
    known = part.task(task)
    unit = "%" if metric == "miou" else known.unit if known and metric == "rmse" else ""
    better = "lower" if metric in SMALLER_IS_BETTER else "higher"
    return f"{task}: {name}{f' ({unit})' if unit else ''}, {better} is better"


def _splits(part: Part) -> list[str]:
    """What runs were validated on while they trained: ``val`` or ``dev``."""
    found = (key for group in part.groups for run in group.runs for line in run.lines for key in line)
    return [key for key in dict.fromkeys(found) if key not in _NOT_VALIDATION]


def _chart(title: str, groups: Sequence[Group], path: tuple[str, ...], factor: float = 1) -> list[tuple[str, Markup]]:
    """A chart of one figure of all runs; none where no run has it."""
    lines = []
    for group in groups:
        for run in group.runs:
            points = [(line["step"], factor * value) for line in run.lines if (value := _at(line, path)) is not None]
            if points:
                steps, values = zip(*points, strict=True)
                lines.append(Line(group.name, group.number, steps, values, _tooltip(group, run, values[-1])))
    return [(title, line_chart(title, lines, X_TITLE))] if lines else []


def _tooltip(group: Group, run: Run, last: float) -> str:
    return f"{group.name}, seed {run.seed}: ends at {last:.4g}"


def _at(line: dict[str, Any], path: tuple[str, ...]) -> float | None:
    """A finite number at a path of a line."""
    value: Any = line
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) and math.isfinite(value) else None
