"""Metrics pooled over every labelled pixel of an evaluation, bit-identical on 1 rank and on 5.

Each metric follows from sums over pixels, and all of these sums are integers: counts, and real quantities rounded to
fixed point for each pixel (:mod:`trainer.fixedpoint`). Integer addition does not depend on order, so the distribution
of samples over batches and ranks has no effect, unlike with sums of floats. The sums of all tasks are in one int64
tensor that ranks add up::

    metrics.update(labels, targets)                    # on each rank, each of its batches
    total = all_reduce_sum(metrics.state())
    Metrics(tasks).merge(total).compute()

Labels are the decisions of a kind from a network's output (:meth:`trainer.kinds.base.Learning.decide`), the same that
are stored and predicted. A pixel without a true label adds nothing, so a sample that only pads a batch has no labels.
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
            labels: predicted labels by task, as its kind decides them.
            targets: by task, in the form of :mod:`trainer.losses`; required for each task, even without any label.
            outputs: the outputs that the labels were decided from, of any height and width, where there are any;
                required for metrics that rank pixels.
        """
        for task, sums in zip(self.tasks, self._sums.split(self._sizes), strict=True):
            sums += learning(task).measure(labels[task.name], targets[task.name], (outputs or {}).get(task.name))

    def state(self) -> Tensor:
        """Return all sums so far, as a new flat int64 tensor. States of disjoint samples add up to the state of all."""
        return self._sums.clone()

    def merge(self, state: Tensor) -> Self:
        """Add another rank's :meth:`state`, or an all-reduced one to an empty accumulator."""
        self._sums += state.to(self._sums.device)
        return self

    def compute(self) -> dict[str, dict[str, Any]]:
        """Return each task's metrics as JSON values; None for a metric without any pixel (or class).

        The kind defines the metrics (:mod:`trainer.kindmetrics`); every kind reports ``pixels``, the number of labelled
        pixels.
        """
        parts = zip(self.tasks, self._sums.cpu().split(self._sizes), strict=True)
        return {task.name: learning(task).report(sums.tolist()) for task, sums in parts}
