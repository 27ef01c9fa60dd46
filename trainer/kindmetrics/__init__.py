"""The metrics of each kind: names, titles, units and better direction, next to the arithmetic that computes them.

Commands about finished runs show metrics without importing torch. So what needs no tensors is here, and
:mod:`trainer.kinds` derives from these classes those that measure tensors, learn and decide. A kind of an installed
package may have all of it in one class.
"""

from importlib.metadata import entry_points

from shards.errors import UserError
from shards.tasks import Task
from trainer.kindmetrics.base import KindMetrics, Metric
from trainer.kindmetrics.binary import BinaryMetrics
from trainer.kindmetrics.classes import ClassMetrics
from trainer.kindmetrics.scalar import ScalarMetrics
from trainer.kindmetrics.vectors import UnitVectorMetrics

__all__ = ["KindMetrics", "Metric", "kind_of", "kinds", "metrics", "metrics_of", "register", "smaller_is_better"]

GROUP = "tutelage.learning"
"""The entry point group in which an installed package offers kinds of its own, by the kind's name."""
_KINDS: dict[str, type[KindMetrics]] = {}


def register(kind: type[KindMetrics]) -> None:
    """Register a kind under its name, for this process, in place of what was registered.

    Raises:
        UserError: when it declares no metrics, or one of the same name as another kind's but with other facts: titles,
            units and the better direction are found by a metric's name.
    """
    if not getattr(kind, "metrics", None):
        hint = "set `metrics`, a tuple of trainer.kindmetrics.Metric, on its learning class"
        raise UserError(f"{kind.__module__}:{kind.__qualname__} has no metrics", key=kind.kind, hint=hint)
    known = {metric.name: other for other in _KINDS.values() if other.kind != kind.kind for metric in other.metrics}
    for metric in kind.metrics:
        if (other := known.get(metric.name)) and metric not in other.metrics:
            hint = f"give it another name, such as {kind.kind}_{metric.name}"
            message = f"{kind.__module__}:{kind.__qualname__} and kind {other.kind} have different metrics of this name"
            raise UserError(message, key=metric.name, hint=hint)
    _KINDS[kind.kind] = kind


def kind_of(task: Task) -> type[KindMetrics]:
    """Return the class of a task's kind: a :class:`trainer.kinds.Learning` once :mod:`trainer.kinds` is imported.

    Raises:
        UserError: for a kind that can be stored but not learnt.
    """
    for entry in entry_points(group=GROUP, name=task.kind) if task.kind not in _KINDS else ():
        register(entry.load())
    if task.kind not in _KINDS:
        hint = f"install a package that offers it as an entry point of {GROUP}, or register it"
        raise UserError(f"kind {task.kind} cannot be learnt", key=task.name, hint=hint)
    return _KINDS[task.kind]


def kinds() -> list[type[KindMetrics]]:
    """Return all kinds, those of installed packages last."""
    for entry in entry_points(group=GROUP):
        if entry.name not in _KINDS:
            register(entry.load())
    return [*_KINDS.values()]


def metrics() -> list[Metric]:
    """Return the scalar metrics of all kinds, those of tables first."""
    return sorted((metric for kind in kinds() for metric in kind.metrics), key=lambda metric: not metric.shown)


def metrics_of(task: Task) -> tuple[Metric, ...]:
    """Return the scalar metrics of a task; networks are compared by the first."""
    return kind_of(task).metrics


def smaller_is_better(name: str) -> bool | None:
    """Whether smaller values of a metric are better; None for one that no kind declares."""
    return next((metric.smaller_is_better for metric in metrics() if metric.name == name), None)


for _kind in (ClassMetrics, ScalarMetrics, UnitVectorMetrics, BinaryMetrics):
    register(_kind)
