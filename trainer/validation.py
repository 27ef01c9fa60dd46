"""What is measured while a network trains, and the metric that selects the best network."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.tasks import Task
from trainer.evaluation import evaluate
from trainer.kindmetrics import metrics_of, smaller_is_better
from trainer.measurement import DEFAULT
from trainer.model.checked import check_tasks
from trainer.runs.records import Records
from trainer.runs.result import Metrics

if TYPE_CHECKING:
    from trainer.trainer import Trainer


@dataclass(frozen=True)
class Validation:
    """Measures a network after every few epochs.

    Args:
        measure: returns a network's metrics; called by all ranks.
        best: ``TASK.METRIC`` by which the best checkpoint is chosen.
        every: epochs between evaluations.
        split: name of the metrics in ``metrics.jsonl``.
        facts: JSON values; two values of ``best`` can be compared if these are equal.
        smaller_is_better: whether smaller values of ``best`` are better; None for what its kind declares, which is
            necessary for a metric of your own.

    Raises:
        UserError: when ``smaller_is_better`` is None and no kind declares the metric.
    """

    measure: Callable[[nn.Module], Metrics]
    best: str
    every: int = 1
    split: str = "val"
    facts: Mapping[str, Any] = field(default_factory=dict)
    smaller_is_better: bool | None = None

    def __post_init__(self) -> None:
        name = self.best.partition(".")[2]
        if self.smaller_is_better is None:
            object.__setattr__(self, "smaller_is_better", smaller_is_better(name))
        if self.smaller_is_better is None:
            hint = "say whether smaller values are better: smaller_is_better=True or False"
            raise UserError(f"{self.best!r} is not a metric of any kind", key="best", hint=hint)

    @classmethod
    def on(cls, data: ShardDataset, trainer: "Trainer") -> "Validation":
        """Evaluate on a data set after every epoch, by the first metric of the first task that it shows; at the size of
        the training data, unless the data set has its own.

        Raises:
            UserError: when it has other tasks, or no sample shows the label of one together with the inputs.
        """
        tasks = trainer.updater.criterion.tasks
        check_tasks(tasks, data.manifest.tasks, data.manifest.path)
        samples, visible = data.frames.with_inputs(trainer.inputs), data.frames.visible
        measured = next((task for task in tasks if (visible[task.name] & samples).any()), None)
        if measured is None:
            message = f"no sample shows {' or '.join(task.name for task in tasks)}"
            if not samples.any():
                message = f"no sample carries {' and '.join(trainer.inputs)}"
            hint = "give other samples, or leave val out"
            raise UserError(message, file=data.manifest.path, key="val", hint=hint)
        size = data.size or trainer.data.size  # that at which the network is trained

        def measure(network: nn.Module) -> Metrics:
            return evaluate(
                network, data, inputs=trainer.inputs, tasks=tasks, size=size, accelerator=trainer.accelerator
            )

        best = f"{measured.name}.{metrics_of(measured)[0].name}"
        facts: dict[str, Any] = {
            "metric": best,
            "split": data.split,
            **DEFAULT.to_json(),
            **_part_of_split(data, tasks),
        }
        if size and not data.size:
            facts["size"] = list(size)
        return cls(measure, best, split=data.split, facts=facts)


def _part_of_split(data: ShardDataset, tasks: Sequence[Task]) -> dict[str, str]:
    """Return what identifies the samples and labels of a data set, or nothing for a whole split."""
    masks = [data.frames.chosen, *(data.frames.visible[task.name] for task in tasks)]
    shards = data.frames.readers.shards
    whole = [data.frames.count, *(sum(shard.labels.get(task.name, 0) for shard in shards) for task in tasks)]
    if [int(mask.sum()) for mask in masks] == whole:
        return {}
    return {"samples": hashlib.sha256(b"".join(np.packbits(mask).tobytes() for mask in masks)).hexdigest()[:16]}


def validate(trainer: "Trainer", validation: Validation, records: Records | None) -> None:
    """Record metrics of a trainer's network, and export the network as the best one if it is.

    Raises:
        UserError: when the metric that selects the best network is not measured.
    """
    with trainer.updater.averaged_weights():
        metrics = validation.measure(trainer.whole())
    trainer.updater.train_mode()
    if records:
        records.write_metrics(trainer.step, {validation.split: metrics})
    checkpointer = trainer.checkpointer
    try:
        smaller = bool(validation.smaller_is_better)
        value, improved = compare_with_best(metrics, validation.best, checkpointer.best, smaller)
    except UserError:  # with another evaluate.best, the run can continue from here
        trainer.save(records)
        raise
    if improved:
        checkpointer.best = value
        checkpointer.export("best", trainer.step, value=value, **validation.facts)


def compare_with_best(metrics: Metrics, name: str, best: float | None, smaller: bool) -> tuple[float, bool]:
    """Return the value of ``TASK.METRIC``, and whether it is better than the best so far, that is smaller or larger.

    Raises:
        UserError: when the tasks have no such metric.
    """
    value = scalars(metrics).get(name)
    if value is None:
        raise not_measured(name, [metric for metric, value in scalars(metrics).items() if value is not None])
    if best is None:
        return value, True
    return value, value < best if smaller else value > best


def scalars(metrics: Metrics) -> dict[str, float | None]:
    """Return the metrics by which a best network can be chosen, by ``TASK.METRIC``."""
    return {
        f"{task}.{name}": value
        for task, values in metrics.items()
        for name, value in values.items()
        if name != "pixels" and not isinstance(value, list)
    }


def not_measured(name: str, metrics: list[str]) -> UserError:
    """Return the error for a metric that is not measured."""
    return UserError(f"{name!r} is not measured", key="best", hint=f"use one of {', '.join(metrics)}")
