"""The loss of several tasks when most pixels, frames or whole ranks lack the label of some of them.

A mean over what a micro-batch happens to hold weighs a labelled pixel by how few others stand beside it, so
the gradient would depend on the number of ranks and accumulation steps. Here a loss is a *sum*, divided by a
count over the **global** batch that the training loop adds up first::

    counts = sum(criterion.counts(targets) for targets in micro_batches)     # then all-reduced by sum
    for inputs, targets in micro_batches:
        criterion(network(inputs), targets, counts).backward()

The losses of all micro-batches on all ranks then add up to the loss of the global batch. A backend that
averages gradients over ranks or accumulation steps turns that sum into a mean: multiply by their number.

Targets are batches of the tensors that :mod:`trainer.augment` makes, as each kind has them. Two more tensors
may stand beside a task's labels, if they do so in all batches of a run:

- ``TASK.soft``, uint8 ``(B, 2k, H, W)``: soft labels of classes (:mod:`shards.soft`), zeros where a pixel has none and
  its hard label counts. Both are needed: the hard label says whether a pixel is labelled.
- ``TASK.weight``, uint8 ``(B, 1, H, W)``: a pixel's weight in steps of 1/255. A weighted loss is the sum of weight ×
  loss over the sum of weights, which are integers, and so the same however the batch is cut.

Predictions are ``(B, channels, H, W)`` of any floating type. Nothing here waits for the device. What remains in memory
for the backward pass is one float32 tensor of the final logits' size, and of each scale's initial ones at its own size
(:mod:`trainer.earlygradient`), so do not hold on to predictions.

Deep supervision adds the loss of every scale's initial predictions, upsampled to full size, as MTI-Net does. A scale
whose map has very few cells says hardly more than what the frame shows on average, and yet has the largest gradient of
all terms in the backbone: so at 96×128, where stride 32 leaves 3×4 cells. Such scales are left out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from shards.errors import UserError
from shards.labels import WEIGHT
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS
from shards.tasks import Task
from trainer.earlygradient import with_gradients
from trainer.kinds import learning

if TYPE_CHECKING:
    from trainer.model.network import Predictions

Normalise = Literal["labelled", "all"]
DEEP_CELLS = 8
"""Cells along the shorter side that a scale's map needs for deep supervision, where no other number is given. All
scales of MTI-Net's own frames, 480×640, have more."""


def label_counts(targets: Mapping[str, Tensor], tasks: Sequence[Task]) -> Tensor:
    """The number of labelled pixels of each task, or the sum of their weights in steps of 1/255 where a task has
    weights; ``(tasks,)`` int64, on the targets' device."""
    return torch.stack([_count(targets, task) for task in tasks])


def _count(targets: Mapping[str, Tensor], task: Task) -> Tensor:
    mask, weight = learning(task).labelled(_labels(targets, task)), targets.get(f"{task.name}.{WEIGHT}")
    if weight is None:
        return mask.sum()
    return weight.where(mask if mask.ndim == weight.ndim else mask.unsqueeze(-3), 0).sum()


def _labels(targets: Mapping[str, Tensor], task: Task) -> Tensor:
    """A task's labels.

    Raises:
        UserError: when there are none, or they have another form: torch would spread a missing dimension over others.
    """
    labels = targets.get(task.name)
    if labels is None:
        what = f"the batch has no labels of it, only {', '.join(targets) or 'none'}"
        raise UserError(what, key=task.name, hint="read them with the data, or leave the task out of the loss")
    due = learning(task).blank(1, 1).shape[:-2]
    if labels.ndim - len(due) not in (2, 3) or labels.shape[labels.ndim - len(due) - 2 : -2] != due:
        form = ", ".join(["batch", *map(str, due), "height", "width"])
        what = f"its labels have the shape {tuple(labels.shape)}, where ({form}) is due"
        raise UserError(what, key=task.name, hint="give them as trainer.augment.to_tensors makes them")
    return labels


def loss_sums(
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    tasks: Sequence[Task],
    offsets: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Each task's loss summed over its labelled pixels, ``(tasks,)`` float32 also under autocast; with weights, the sum
    of loss × weight in steps of 1/255.

    ``offsets`` are those of :class:`MultiTaskLoss`. What is summed of each pixel its kind says
    (:meth:`trainer.kinds.base.Learning.loss`). A task without a labelled pixel gives an exact zero whose gradient is
    zero and reaches the predictions, so that no parameter counts as unused.
    """
    offsets = offsets or {}
    return torch.stack([_sum(predictions[task.name].float(), targets, task, offsets.get(task.name)) for task in tasks])


def _sum(prediction: Tensor, targets: Mapping[str, Tensor], task: Task, offset: Tensor | None) -> Tensor:
    if offset is not None:
        prediction = _adjusted(prediction, offset, targets.get(f"{task.name}.{SOFT}"))
    # A sum of its own over pixels: a reduction="sum" would add with atomics on a GPU, another sum on every run.
    loss = learning(task).loss(prediction, _labels(targets, task), targets.get(f"{task.name}.{SOFT}"))
    weight = targets.get(f"{task.name}.{WEIGHT}")
    return loss.sum() if weight is None else (loss * weight.reshape(loss.shape)).sum()


def _adjusted(prediction: Tensor, offset: Tensor, soft: Tensor | None) -> Tensor:
    """Logits with an offset of each class, of ``(2, C)`` the first where the label is a single class and the second
    where it is soft: that is a teacher's who learnt with the first, and so knows of no frequencies."""
    single, of_soft = offset.to(prediction.device)[:, :, None, None]
    if soft is None:
        return prediction + single
    steps = soft[:, soft.shape[1] // 2 :]
    return prediction + torch.where((steps != 0).any(1, keepdim=True), of_soft, single)


class MultiTaskLoss:
    """The training loss: L = Σ over tasks of weight × (final + deep × Σ over scales of initial) / denominator.

    With weights ``{"semseg": α}`` and depth as the other task this is the paper's L = L_D + α·L_S. Final and initial
    predictions (deep supervision) each give a summed loss; with ``deep`` 1 and four scales these are MTI-Net's five
    equal terms.

    Args:
        tasks: the tasks that the network predicts.
        weights: a task's weight, 1 where none is given.
        normalise: what a task's loss is divided by: ``labelled``, the labelled pixels of the global batch, or
            ``all``, its pixels with or without a label, so that a missing label counts as a loss of zero (as
            the paper words its UMMT-D).
        deep: the weight of every initial prediction's loss; 0 trains on final predictions alone.
        deep_cells: scales whose map has fewer cells along its shorter side are not supervised.
        offsets: by task what is added to the logits of each class in the loss, ``(2, C)``: of single-class labels, and
            of soft ones (:mod:`trainer.adjustment`).

    Raises:
        UserError: for a weight that is negative or of no task, or another ``normalise``.
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
        self.tasks, self.normalise = tuple(tasks), normalise
        self.offsets = dict(offsets or {})
        self.deep, self.deep_cells = deep, deep_cells
        weights = weights or {}
        names = [task.name for task in self.tasks]
        for name, weight in weights.items():
            if name not in names:
                raise UserError("no such task is trained", key=f"loss.weights.{name}", hint=f"use {', '.join(names)}")
            if not (weight >= 0 and math.isfinite(weight)):
                raise UserError(f"{weight} is not a weight", key=f"loss.weights.{name}", hint="use a number from 0 up")
        if normalise not in get_args(Normalise):
            hint = f"use {' or '.join(get_args(Normalise))}"
            raise UserError(f"{normalise!r} is unknown", key="loss.normalise", hint=hint)
        self.weights = tuple(float(weights.get(name, 1.0)) for name in names)
        if self.tasks and not any(self.weights):
            raise UserError("weighs every task with 0", key="loss.weights", hint="give one of them a weight over 0")

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """A micro-batch's share of the denominators, ``(tasks,)`` int64: add up over micro-batches and ranks."""
        if self.normalise == "labelled":
            return label_counts(targets, self.tasks)
        shapes = [_labels(targets, task).shape for task in self.tasks]
        pixels = [batch * height * width for batch, *_, height, width in shapes]
        steps = [STEPS if f"{task.name}.{WEIGHT}" in targets else 1 for task in self.tasks]
        counts = [of * step for of, step in zip(pixels, steps, strict=True)]
        return torch.tensor(counts, device=targets[self.tasks[0].name].device)

    def terms(self, predictions: "Predictions", targets: Mapping[str, Tensor], denominators: Tensor) -> Tensor:
        """Each task's part of the loss, ``(tasks,)`` float32, weighted and normalised.

        Args:
            predictions: ``final`` by task at the targets' height and width, and ``initial`` at every scale's own
                (none for a network without).
            targets: by task; each must be there, if only without a label.
            denominators: :meth:`counts`, summed over the global batch. A task that it nowhere labels adds 0.
        """
        sums = loss_sums(predictions.final, targets, self.tasks, self.offsets)
        for scale, initial in enumerate(predictions.initial):
            if self.deep and min(initial[self.tasks[0].name].shape[-2:]) >= self.deep_cells:
                sums = sums + self.deep * self._of_scale(predictions, scale, targets)
            else:  # a sum of nothing: its zero gradient tells engines that the parameters were used
                sums = sums + torch.stack([initial[task.name].float().flatten()[:0].sum() for task in self.tasks])
        shares = sums / denominators.to(sums.device, non_blocking=True).clamp(min=1)
        return torch.stack([weight * share for weight, share in zip(self.weights, shares, strict=True)])

    def _of_scale(self, predictions: "Predictions", scale: int, targets: Mapping[str, Tensor]) -> Tensor:
        """:func:`loss_sums` of one scale's initial predictions."""
        names = [task.name for task in self.tasks]

        def sums_of(values: Sequence[Tensor]) -> Tensor:
            full = predictions.at_full_size(scale, dict(zip(names, values, strict=True)))
            return loss_sums(full, targets, self.tasks, self.offsets)

        return with_gradients(sums_of, [predictions.initial[scale][name] for name in names])

    def __call__(self, predictions: "Predictions", targets: Mapping[str, Tensor], denominators: Tensor) -> Tensor:
        """The micro-batch's share of the global loss: the sum of :meth:`terms`."""
        return self.terms(predictions, targets, denominators).sum()
