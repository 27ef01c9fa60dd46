"""The metrics that tables show and their better direction, as declared by the kinds (:class:`shards.kinds.Metric`)."""

import statistics
from collections.abc import Sequence

from shards.kinds import kinds, metrics
from shards.tasks import Task

_METRICS = metrics()
HEADLINES = {metric.name: (metric.title, metric.factor, metric.digits) for metric in _METRICS if metric.shown}
"""Metrics that a table shows: title, factor that they are multiplied by, and decimals."""
FURTHER = {metric.name: (metric.title, metric.factor, metric.digits) for metric in _METRICS if not metric.shown}
"""The other scalar metrics of ``result.json``, likewise."""
JUDGED = tuple(kind.metrics[0].name for kind in kinds())
"""The headline metric of each kind, which verdicts and ΔMTL are based on."""
SMALLER_IS_BETTER = tuple(metric.name for metric in _METRICS if metric.smaller_is_better)
_ALL_METRICS = HEADLINES | FURTHER


def headline_of(task: Task) -> str:
    """Return the metric by which networks are compared on a task."""
    return task.storage.metrics[0].name


def title_of(task: str, metric: str, tasks: Sequence[str]) -> str:
    """Return a metric's title, with its task if there are more tasks than the paper's two."""
    return f"{task} {_ALL_METRICS[metric][0]}" if len(tasks) > 2 else _ALL_METRICS[metric][0]


def format_values(values: Sequence[float | None], metric: str) -> str:
    """Format the mean ± standard deviation of the values that are not None, in the metric's unit and decimals."""
    measured = [value for value in values if value is not None]
    if not measured:
        return "–"
    _, factor, digits = _ALL_METRICS[metric]
    return plus_minus(measured, digits, factor)


def signed(value: float, digits: int) -> str:
    """Format a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plus_minus(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """Format the mean ± standard deviation, the latter for two values or more."""
    text = f"{factor * statistics.fmean(values):.{digits}f}"
    return text + (f" ± {factor * statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")
