"""The metrics that tables show and their better direction, as the kinds declare them (:mod:`trainer.kindmetrics`)."""

import statistics
from collections.abc import Collection, Sequence

from shards.tasks import Task
from trainer.kindmetrics import kinds, metrics, metrics_of

METRICS = {metric.name: metric for metric in metrics()}
"""All scalar metrics of ``result.json`` by name, those of tables first."""
SHOWN = {metric.name: (metric.title, metric.factor, metric.digits) for metric in METRICS.values() if metric.shown}
"""Metrics that a table shows: title, factor that they are multiplied by, and decimals."""
HEADLINE = tuple(kind.metrics[0].name for kind in kinds())
"""The headline metric of each kind, which verdicts and ΔMTL are based on."""
SMALLER_IS_BETTER = tuple(metric.name for metric in METRICS.values() if metric.smaller_is_better)


def headline_of(task: Task) -> str:
    """Return the metric by which networks are compared on a task."""
    return metrics_of(task)[0].name


def title_of(task: str, metric: str, metrics: Collection[tuple[str, str]]) -> str:
    """Return a metric's title, with its task if there are more tasks than the paper's two, or if another task has a
    metric of this title.

    Args:
        metrics: task and metric of all titles that stand together.
    """
    title = METRICS[metric].title
    tasks = {other_task for other_task, _ in metrics}
    namesakes = {other_task for other_task, other in metrics if METRICS[other].title == title}
    return f"{task} {title}" if len(tasks) > 2 or namesakes - {task} else title


def format_values(values: Sequence[float | None], metric: str) -> str:
    """Format the mean ± standard deviation of the values that are not None, in the metric's unit and decimals."""
    measured = [value for value in values if value is not None]
    if not measured:
        return "–"
    return plus_minus(measured, METRICS[metric].digits, METRICS[metric].factor)


def signed(value: float, digits: int) -> str:
    """Format a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plus_minus(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """Format the mean ± standard deviation, the latter for two values or more."""
    text = f"{factor * statistics.fmean(values):.{digits}f}"
    return text + (f" ± {factor * statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")
