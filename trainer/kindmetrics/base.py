"""The base class of a kind's metrics: their names and units, and how they follow from integers. Imports no torch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shards.tasks import Task


@dataclass(frozen=True)
class Metric:
    """A scalar metric of ``result.json``.

    Args:
        name: its key in ``result.json``.
        title: its name in tables and charts.
        unit: its unit in tables and charts; None for the task's own unit.
        factor: factor of values in tables and charts: 100 for percent.
        digits: number of decimals in tables and charts.
        smaller_is_better: whether smaller values are better.
        shown: whether tables of results have a column for it.
    """

    name: str
    title: str
    unit: str | None = ""
    factor: float = 1
    digits: int = 3
    smaller_is_better: bool = False
    shown: bool = False

    def unit_suffix(self, task_unit: str = "") -> str:
        """Return the unit in brackets, to follow the title; empty where there is none, or the title ends with it."""
        unit = task_unit if self.unit is None else self.unit
        return f" ({unit})" if unit and not self.title.endswith(f" {unit}") else ""


class KindMetrics(ABC):
    """The metrics of one task's labels, from integer sums over pixels, which add up to the same result in any order.

    Args:
        task: the task that the labels belong to.

    Attributes:
        kind: the name in manifests.
        metrics: the scalar metrics, in the order of tables; networks are compared by the first where only one is used.
    """

    kind: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    @abstractmethod
    def sums(self) -> int:
        """The number of integers that measure a batch."""

    @abstractmethod
    def report(self, sums: list[int]) -> dict[str, Any]:
        """Return the values of all metrics as JSON values by name; None where no pixel (or class) counts. Beside them
        ``pixels``, how many had a label, and lists by class or mask.

        Args:
            sums: added-up integers of :meth:`trainer.kinds.base.Learning.measure`.
        """


def mean_of_present(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are not None; None without any."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
