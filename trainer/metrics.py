"""Metrics pooled over every labelled pixel of an evaluation, the same to the last bit on 1 rank and on 5.

Each metric follows from sums over pixels, and all of these sums are integers: counts, and real quantities
rounded to a fixed point pixel by pixel (:mod:`trainer.fixedpoint`). Integer addition knows no order, so the split of
the samples over batches and ranks cannot show, whatever it does to a sum of floats. The sums of all tasks stand in one
int64 tensor that ranks add up::

    metrics.update(labels, targets)                    # on each rank, each of its batches
    total = all_reduce_sum(metrics.state())
    Metrics(tasks).merge(total).compute()

Labels are what a kind decides of a network's output (:meth:`trainer.kinds.base.Learning.decide`), the same that is
stored and predicted. A pixel whose truth has no label adds nothing, so a sample that only pads a batch is one without
labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from shards.tasks import Task
from trainer.kinds import learning


class Metrics:
    """Accumulates the metrics of ``tasks`` over an evaluation.

    Args:
        tasks: the tasks that are measured.
        device: where predictions and targets are, and where the sums are kept.
    """

    def __init__(self, tasks: Sequence[Task], device: torch.device | str = "cpu") -> None:
        self.tasks = tuple(tasks)
        self._sizes = [learning(task).sums for task in self.tasks]
        self._sums = torch.zeros(sum(self._sizes), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(
        self,
        labels: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            labels: by task, of a prediction, as its kind decides them.
            targets: by task, as :mod:`trainer.losses` takes them; each must be there, if only without a label.
            outputs: what the labels were made of, at the targets' size, of tasks that have a metric of ranks.
        """
        for task, sums in zip(self.tasks, self._sums.split(self._sizes), strict=True):
            sums += learning(task).measure(labels[task.name], targets[task.name], (outputs or {}).get(task.name))

    def state(self) -> Tensor:
        """All sums so far, a new flat int64 tensor. States of disjoint samples add up to the state of all."""
        return self._sums.clone()

    def merge(self, state: Tensor) -> Self:
        """Add another rank's :meth:`state`, or an all-reduced one to an empty accumulator."""
        self._sums += state.to(self._sums.device)
        return self

    def compute(self) -> dict[str, dict[str, Any]]:
        """Each task's metrics, as JSON values; None where no pixel (or class) says anything.

        Which ones its kind says (:meth:`trainer.kinds.base.Learning.report`); of every kind ``pixels``, how many had a
        label.
        """
        parts = zip(self.tasks, self._sums.cpu().split(self._sizes), strict=True)
        return {task.name: learning(task).report(sums.tolist()) for task, sums in parts}
