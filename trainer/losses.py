"""The loss of several tasks when most pixels, frames or whole ranks lack the label of some of them.

With a mean over the labels of a micro-batch, the weight of a labelled pixel would depend on how many others the
micro-batch contains, and the gradient on the number of ranks and accumulation steps. Here a loss is a *sum*, divided by
a count over the **global** batch that the training loop adds up first::

    counts = sum(criterion.counts(targets) for targets in micro_batches)     # then all-reduced by sum
    for inputs, targets in micro_batches:
        criterion(network(inputs), targets, counts).backward()

The losses of all micro-batches on all ranks then add up to the loss of the global batch. A backend that averages
gradients over ranks or accumulation steps turns that sum into a mean: multiply by their number.

Targets are batches of the tensors of :mod:`trainer.augment`, in the form of each kind. A task's labels may be
accompanied by two more tensors, in all batches of a run or in none:

- ``TASK.soft``, uint8 ``(B, 2k, H, W)``: soft labels of classes (:mod:`shards.soft`), zeros where a pixel has none and
  its hard label counts. Both are needed: the hard label determines whether a pixel is labelled.
- ``TASK.weight``, uint8 ``(B, 1, H, W)``: a pixel's weight in steps of 1/255. A weighted loss is the sum of weight ×
  loss over the sum of weights, which are integers, and so does not depend on how the batch is split.

Predictions are ``(B, channels, H, W)`` of any floating type. Nothing here waits for the device. For the backward pass,
one float32 tensor of the size of the final logits remains in memory, and one of each scale's initial logits at the
scale's own size (:mod:`trainer.earlygradient`), so do not keep references to predictions.

Deep supervision adds the loss of every scale's initial predictions, upsampled to full size, as in MTI-Net. A scale with
very few cells predicts little more than the average of the frame, and yet has the largest gradient of all terms in the
backbone, for instance at 96×128, where stride 32 has 3×4 cells. Such scales are left out.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from types import NoneType
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from shards.arguments import check_kind
from shards.errors import UserError
from shards.labels import WEIGHT
from shards.owncode import name_of, own_code
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS
from shards.tasks import Task, check_are_tasks
from trainer.earlygradient import with_gradients
from trainer.kinds import learning
from trainer.option import check_values
from trainer.parsing import check_unique
from trainer.sections import Loss

if TYPE_CHECKING:
    from trainer.model.network import Predictions

Normalise = Literal["labelled", "all"]
DEEP_CELLS = 8
"""Default number of cells that a scale needs along its shorter side for deep supervision. All scales of MTI-Net's own
frames, 480×640, have more."""


def label_counts(targets: Mapping[str, Tensor], tasks: Sequence[Task]) -> Tensor:
    """Return the number of labelled pixels of each task, or the sum of their weights in steps of 1/255 where a task has
    weights; ``(tasks,)`` int64, on the targets' device."""
    return torch.stack([_count(targets, task) for task in tasks])


def _count(targets: Mapping[str, Tensor], task: Task) -> Tensor:
    mask, weight = learning(task).labelled(_labels(targets, task)), targets.get(f"{task.name}.{WEIGHT}")
    if weight is None:
        return mask.sum()
    return weight.where(mask if mask.ndim == weight.ndim else mask.unsqueeze(-3), 0).sum()


def _labels(targets: Mapping[str, Tensor], task: Task) -> Tensor:
    """Return a task's labels.

    Raises:
        UserError: when they are missing or have the wrong shape: torch would silently broadcast a missing dimension.
    """
    labels = targets.get(task.name)
    if labels is None:
        message = f"the batch has no labels of it, only {', '.join(targets) or 'none'}"
        raise UserError(message, key=task.name, hint="read them with the data, or leave the task out of the loss")
    channels = learning(task).blank(1, 1).shape[:-2]
    if labels.ndim - len(channels) not in (2, 3) or labels.shape[labels.ndim - len(channels) - 2 : -2] != channels:
        form = ", ".join(["batch", *map(str, channels), "height", "width"])
        message = f"its labels have the shape {tuple(labels.shape)}, expected ({form})"
        raise UserError(message, key=task.name, hint="give them as trainer.augment.to_tensors makes them")
    return labels


def loss_sums(
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    tasks: Sequence[Task],
    offsets: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Return each task's loss summed over its labelled pixels, ``(tasks,)`` float32 also under autocast; with weights,
    the sum of loss × weight in steps of 1/255.

    ``offsets`` are those of :class:`MultiTaskLoss`. The loss of each pixel is defined by the kind
    (:meth:`trainer.kinds.base.Learning.loss`). A task without labelled pixels gives an exact zero whose zero gradient
    reaches the predictions, so that no parameter counts as unused.
    """
    offsets = offsets or {}
    return torch.stack([_sum(predictions[task.name].float(), targets, task, offsets.get(task.name)) for task in tasks])


def _sum(prediction: Tensor, targets: Mapping[str, Tensor], task: Task, offset: Tensor | None) -> Tensor:
    if offset is not None:
        prediction = _adjust(prediction, offset, targets.get(f"{task.name}.{SOFT}"))
    # Summed separately, since reduction="sum" adds with atomics on a GPU, with another result on every run.
    loss = learning(task).loss(prediction, _labels(targets, task), targets.get(f"{task.name}.{SOFT}"))
    weight = targets.get(f"{task.name}.{WEIGHT}")
    return loss.sum() if weight is None else (loss * weight.reshape(loss.shape)).sum()


def _adjust(prediction: Tensor, offset: Tensor, soft: Tensor | None) -> Tensor:
    """Add an offset of each class to logits: of ``(2, C)``, the first row where the label is a single class, and the
    second where it is soft, from a teacher that learnt with the first and so does not favour frequent classes."""
    hard_offset, soft_offset = offset.to(prediction.device)[:, :, None, None]
    if soft is None:
        return prediction + hard_offset
    steps = soft[:, soft.shape[1] // 2 :]
    return prediction + torch.where((steps != 0).any(1, keepdim=True), soft_offset, hard_offset)


class MultiTaskLoss:
    """The training loss: L = Σ over tasks of weight × (final + deep × Σ over scales of initial) / denominator.

    With weights ``{"semseg": α}`` and depth as the other task, this is the paper's L = L_D + α·L_S. Final and initial
    predictions (deep supervision) each give a summed loss; with ``deep`` 1 and four scales, these are MTI-Net's five
    equal terms.

    A loss of your own is a subclass with other :meth:`terms`, and :meth:`counts` where its denominators differ.
    Training calls these two, and not the object itself.

    Args:
        tasks: the tasks that the network predicts.
        weights: the weight of each task, by default 1.
        normalise: the denominator of a task's loss: ``labelled``, the labelled pixels of the global batch, or ``all``,
            its pixels with or without a label, so that a missing label counts as a loss of zero (as the paper words its
            UMMT-D).
        deep: the weight of every initial prediction's loss; 0 trains on final predictions alone.
        deep_cells: scales whose map has fewer cells along its shorter side are not supervised.
        offsets: by task, what the loss adds to the logits of each class, ``(2, C)``: for single-class labels, and for
            soft ones (:mod:`trainer.adjustment`).

    Raises:
        UserError: for no tasks, one twice or names in their place, a weight or offset of an unknown task, and values
            of another type, out of range or of another shape.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        weights: Mapping[str, float] | None = None,
        normalise: Normalise = "labelled",
        deep: float = 1.0,
        deep_cells: int = DEEP_CELLS,
        offsets: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.tasks, self.normalise = check_are_tasks(tasks), normalise
        check_kind("weights", weights, Mapping, NoneType)
        check_kind("offsets", offsets, Mapping, NoneType)
        check_values(Loss, {"normalise": normalise, "deep": deep, "deep_cells": deep_cells})
        weights, self.offsets = weights or {}, dict(offsets or {})
        self.deep, self.deep_cells = deep, deep_cells
        by_name = {task.name: task for task in self.tasks}
        check_unique([task.name for task in self.tasks], "tasks")
        for key, mapping in (("weights", weights), ("offsets", self.offsets)):
            if unknown := [name for name in mapping if name not in by_name]:
                raise UserError("no such task is trained", key=f"{key}.{unknown[0]}", hint=f"use {', '.join(by_name)}")
        for name, weight in weights.items():
            if not (isinstance(weight, Real) and weight >= 0 and math.isfinite(weight)):
                raise UserError(f"{weight!r} is not a weight", key=f"weights.{name}", hint="use a number from 0 up")
        for name, offset in self.offsets.items():
            check_kind(f"offsets.{name}", offset, Tensor)
            if offset.shape != (due := (2, by_name[name].channels)):
                message = f"has the shape {tuple(offset.shape)}, expected {due}"
                raise UserError(message, key=f"offsets.{name}", hint="give one row for hard and one for soft labels")
        self.weights = tuple(float(weights.get(name, 1.0)) for name in by_name)
        if not any(self.weights):
            raise UserError("gives every task weight 0", key="weights", hint="give one of them a weight over 0")

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Return a micro-batch's part of the denominators, ``(tasks,)`` int64: add up over micro-batches and ranks."""
        if self.normalise == "labelled":
            return label_counts(targets, self.tasks)
        shapes = [_labels(targets, task).shape for task in self.tasks]
        pixels = [batch * height * width for batch, *_, height, width in shapes]
        steps = [STEPS if f"{task.name}.{WEIGHT}" in targets else 1 for task in self.tasks]
        counts = [count * step for count, step in zip(pixels, steps, strict=True)]
        return torch.tensor(counts, device=targets[self.tasks[0].name].device)

    def terms(self, predictions: "Predictions", targets: Mapping[str, Tensor], denominators: Tensor) -> Tensor:
        """Return each task's part of the loss, ``(tasks,)`` float32, weighted and normalised.

        Args:
            predictions: ``final`` by task at the targets' height and width, and ``initial`` at every scale's own
                (none for a network without).
            targets: by task; required for each task, even where no pixel has a label.
            denominators: :meth:`counts`, summed over the global batch. A task without any label there adds 0.
        """
        sums = loss_sums(predictions.final, targets, self.tasks, self.offsets)
        for scale, initial in enumerate(predictions.initial):
            if self.deep and min(initial[self.tasks[0].name].shape[-2:]) >= self.deep_cells:
                sums = sums + self.deep * self._scale_sums(predictions, scale, targets)
            else:  # an empty sum, whose zero gradient shows engines that the parameters were used
                sums = sums + torch.stack([initial[task.name].float().flatten()[:0].sum() for task in self.tasks])
        losses = sums / denominators.to(sums.device, non_blocking=True).clamp(min=1)
        return torch.stack([weight * loss for weight, loss in zip(self.weights, losses, strict=True)])

    def _scale_sums(self, predictions: "Predictions", scale: int, targets: Mapping[str, Tensor]) -> Tensor:
        """Return :func:`loss_sums` of one scale's initial predictions."""
        names = [task.name for task in self.tasks]

        def sums_of(values: Sequence[Tensor]) -> Tensor:
            full = predictions.at_full_size(scale, dict(zip(names, values, strict=True)))
            return loss_sums(full, targets, self.tasks, self.offsets)

        return with_gradients(sums_of, [predictions.initial[scale][name] for name in names])

    def __call__(self, predictions: "Predictions", targets: Mapping[str, Tensor], denominators: Tensor) -> Tensor:
        """Return the micro-batch's part of the global loss: the sum of :meth:`terms`."""
        return self.terms(predictions, targets, denominators).sum()


def terms_of(
    loss: MultiTaskLoss, predictions: "Predictions", targets: Mapping[str, Tensor], denominators: Tensor
) -> Tensor:
    """Return :meth:`MultiTaskLoss.terms` of a loss, which may be a user's own.

    Raises:
        UserError: when it raises an exception, or does not return one number per task.
    """
    with own_code(loss, "loss", within=True):
        terms = loss.terms(predictions, targets, denominators)
    if not isinstance(terms, Tensor) or terms.shape != (len(loss.tasks),):
        result = f"shape {tuple(terms.shape)}" if isinstance(terms, Tensor) else f"a {type(terms).__name__}"
        message = f"terms of {name_of(loss)} returned {result}, expected a tensor of shape ({len(loss.tasks)},)"
        raise UserError(message, key="loss", hint="return one value per task")
    return terms
