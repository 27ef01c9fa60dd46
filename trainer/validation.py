"""What is measured while a network trains, and in what the best one is best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.kinds import smaller_is_better
from trainer.evaluation import evaluate
from trainer.measurement import DEFAULT
from trainer.runs.result import Metrics

if TYPE_CHECKING:
    from trainer.trainer import Trainer


@dataclass(frozen=True)
class Validation:
    """Measures a network after every few epochs.

    Args:
        measure: gives a network's metrics; called by all ranks.
        best: ``TASK.METRIC`` that the best checkpoint is best in.
        every: epochs between.
        split: what the metrics are of, their name in ``metrics.jsonl``.
        facts: JSON values that two values of ``best`` must share to be compared.
    """

    measure: Callable[[nn.Module], Metrics]
    best: str
    every: int = 1
    split: str = "val"
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def on(cls, data: ShardDataset, trainer: "Trainer") -> "Validation":
        """After every epoch on a data set, by the first metric of the first task."""
        tasks = trainer.updater.criterion.tasks

        def measure(network: nn.Module) -> Metrics:
            return evaluate(network, data, inputs=trainer.inputs, tasks=tasks, process=trainer.process)

        best = f"{tasks[0].name}.{tasks[0].storage.metrics[0].name}"
        return cls(measure, best, split=data.split, facts={"metric": best, "split": data.split, **DEFAULT.to_json()})


def headline(metrics: Metrics, name: str, best: float | None) -> tuple[float, bool]:
    """The value of ``TASK.METRIC``, and whether it is better than the best so far.

    Raises:
        UserError: when the tasks have no such metric.
    """
    value = scalars(metrics).get(name)
    if value is None:
        raise not_measured(name, [other for other, value in scalars(metrics).items() if value is not None])
    if best is None:
        return value, True
    return value, value < best if smaller_is_better(name.partition(".")[2]) else value > best


def scalars(metrics: Metrics) -> dict[str, float | None]:
    """What a network can be best in, by ``TASK.METRIC``."""
    every = {f"{task}.{name}": value for task, of in metrics.items() for name, value in of.items() if name != "pixels"}
    return {name: value for name, value in every.items() if not isinstance(value, list)}


def not_measured(name: str, known: list[str]) -> UserError:
    """The error of a metric that there is not."""
    return UserError(f"{name!r} is not measured", key="evaluate.best", hint=f"use one of {', '.join(known)}")
