"""The metrics that tables show, and which way is better, as the kinds say it (:class:`shards.kinds.Metric`)."""

import statistics
from collections.abc import Sequence

from shards.kinds import kinds, metrics
from shards.tasks import Task

_METRICS = metrics()
HEADLINES = {metric.name: (metric.title, metric.factor, metric.digits) for metric in _METRICS if metric.shown}
"""Metrics that a table shows: their title, what they are multiplied by, and decimals."""
FURTHER = {metric.name: (metric.title, metric.factor, metric.digits) for metric in _METRICS if not metric.shown}
"""The other scalar metrics of ``result.json``, likewise."""
JUDGED = tuple(kind.metrics[0].name for kind in kinds())
"""What verdicts and ΔMTL are about: the one metric of each kind that networks are compared by, where only one is asked
for."""
SMALLER_IS_BETTER = tuple(metric.name for metric in _METRICS if metric.smaller_is_better)
_SPELLED = HEADLINES | FURTHER


def headline_of(task: Task) -> str:
    """The metric that networks are compared by in a task."""
    return task.storage.metrics[0].name


def title_of(task: str, metric: str, tasks: Sequence[str]) -> str:
    """A metric's title, with its task where the paper's two are not alone."""
    return f"{task} {_SPELLED[metric][0]}" if len(tasks) > 2 else _SPELLED[metric][0]


def spell(values: Sequence[float | None], metric: str) -> str:
    """The mean of the values that are known ± their standard deviation, in the metric's unit and decimals."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    _, factor, digits = _SPELLED[metric]
    return plus_minus(known, digits, factor)


def signed(value: float, digits: int) -> str:
    """A number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plus_minus(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """The mean ± the standard deviation, where there are two values or more."""
    text = f"{factor * statistics.fmean(values):.{digits}f}"
    return text + (f" ± {factor * statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")
