"""The loss of several tasks when most pixels, frames or whole ranks lack the label of some of them.

A mean over what a micro-batch happens to hold weighs a labelled pixel by how few others stand beside it, so
the gradient would depend on the number of ranks and accumulation steps. Here a loss is a *sum*, divided by a
count over the **global** batch that the training loop adds up first::

    counts = sum(criterion.counts(targets) for targets in micro_batches)     # then all-reduced by sum
    for inputs, targets in micro_batches:
        criterion(network(inputs), targets, counts).backward()

The losses of all micro-batches on all ranks then add up to the loss of the global batch. A backend that
averages gradients over ranks or accumulation steps turns that sum into a mean: multiply by their number.

Targets are batches of the tensors that :mod:`trainer.augment` makes: classes ``(B, H, W)`` integers with 255
for no label, metric ``(B, 1, H, W)`` with 0, unit vectors ``(B, 3, H, W)`` with the zero vector. Two more tensors may
stand beside a task's labels, if they do so in all batches of a run:

- ``TASK.soft``, uint8 ``(B, 2k, H, W)``: soft labels of classes (:mod:`shards.soft`), zeros where a pixel has none and
  its hard label counts. Both are needed: the hard label says whether a pixel is labelled.
- ``TASK.weight``, uint8 ``(B, 1, H, W)``: a pixel's weight in steps of 1/255. A weighted loss is the sum of weight ×
  loss over the sum of weights, which are integers, and so the same however the batch is cut.

Predictions are ``(B, channels, H, W)`` of any floating type. Nothing here waits for the device. What remains in memory
for the backward pass is one float32 tensor of the logits' size for each term, so do not hold on to predictions.

Deep supervision adds the loss of every scale's initial predictions, upsampled to full size, as MTI-Net does. A scale
whose map has very few cells says hardly more than what the frame shows on average, and yet has the largest gradient of
all terms in the backbone: so at 96×128, where stride 32 leaves 3×4 cells. Such scales are left out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from shards.errors import UserError
from shards.labels import WEIGHT
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS
from shards.tasks import IGNORE, Task

if TYPE_CHECKING:  # loader workers count labels and need no network
    from trainer.model.network import Predictions

Normalise = Literal["labelled", "all"]
DEEP_CELLS = 8
"""Cells along the shorter side that a scale's map needs for deep supervision, where no other number is given. All
scales of MTI-Net's own frames, 480×640, have more."""


def labelled(target: Tensor, task: Task) -> Tensor:
    """Which pixels carry a label of ``task``: a mask of the target's shape, with one channel if it has any."""
    if task.kind == "classes":
        return target != IGNORE
    return target != 0 if task.kind == "metric" else (target != 0).any(dim=-3, keepdim=True)


def label_counts(targets: Mapping[str, Tensor], tasks: Sequence[Task]) -> Tensor:
    """The number of labelled pixels of each task, or the sum of their weights in steps of 1/255 where a task has
    weights; ``(tasks,)`` int64, on the targets' device."""
    return torch.stack([_count(targets, task) for task in tasks])


def _count(targets: Mapping[str, Tensor], task: Task) -> Tensor:
    mask, weight = labelled(targets[task.name], task), targets.get(f"{task.name}.{WEIGHT}")
    if weight is None:
        return mask.sum()
    return weight.where(mask if mask.ndim == weight.ndim else mask.unsqueeze(-3), 0).sum()


def _cross_entropy(logits: Tensor, target: Tensor, soft: Tensor | None) -> Tensor:
    target = target.long()
    if soft is not None:
        return _soft_cross_entropy(logits, target, soft)
    if logits.stride(1) == 1:  # channels last
        # A pixel's classes lie side by side: as rows they need no copy and softmax runs along memory, which
        # takes 40 % of the time on a CPU.
        rows = logits.permute(0, 2, 3, 1).flatten(0, 2)
        return F.cross_entropy(rows, target.flatten(), ignore_index=IGNORE, reduction="none").view_as(target)
    return F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")


def _soft_cross_entropy(logits: Tensor, target: Tensor, soft: Tensor) -> Tensor:
    """−Σ t·log p over all classes, t as :func:`shards.soft.distribution`; where there are no steps, of the target."""
    log_p = logits.permute(0, 2, 3, 1).log_softmax(-1)
    named, steps = soft.permute(0, 2, 3, 1).chunk(2, -1)
    others = log_p.shape[-1] - named.shape[-1]
    steps = steps.to(log_p.dtype)
    even = (STEPS - steps.sum(-1, keepdim=True)) / others if others else torch.zeros_like(steps[..., :1])
    loss = -((steps - even) * log_p.gather(-1, named.long())).sum(-1) - even[..., 0] * log_p.sum(-1)
    hard = -log_p.gather(-1, target.clamp(max=log_p.shape[-1] - 1).unsqueeze(-1))[..., 0]
    return torch.where(target != IGNORE, torch.where(steps.any(-1), loss / STEPS, hard), 0)


def _absolute_error(prediction: Tensor, target: Tensor, soft: None) -> Tensor:
    return torch.where(target != 0, (prediction - target).abs(), 0)


def _angular_distance(prediction: Tensor, target: Tensor, soft: None) -> Tensor:
    # eps bounds the gradient where a prediction is the zero vector, which has no direction.
    distance = 1 - F.cosine_similarity(prediction, target, dim=1, eps=1e-4)
    return torch.where((target != 0).any(dim=1), distance, 0)


_LOSSES: dict[str, Callable[[Tensor, Tensor, Any], Tensor]] = {
    "classes": _cross_entropy,
    "metric": _absolute_error,
    "unit_vector": _angular_distance,
}
"""Of every pixel, 0 where it has no label, with one channel or none."""


def loss_sums(predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], tasks: Sequence[Task]) -> Tensor:
    """Each task's loss summed over its labelled pixels, ``(tasks,)`` float32 also under autocast; with weights, the sum
    of loss × weight in steps of 1/255.

    Classes: cross-entropy in nats (the paper's L_S), against the whole distribution where labels are soft. Metric:
    absolute error in the task's unit (the paper's L_D). Unit vectors: one minus the cosine of the angle. A task
    without a labelled pixel gives an exact zero whose gradient is zero and reaches the predictions, so that no
    parameter counts as unused.
    """
    return torch.stack([_sum(predictions[task.name].float(), targets, task) for task in tasks])


def _sum(prediction: Tensor, targets: Mapping[str, Tensor], task: Task) -> Tensor:
    # A sum of its own over pixels: a reduction="sum" would add with atomics on a GPU, another sum on every run.
    loss = _LOSSES[task.kind](prediction, targets[task.name], targets.get(f"{task.name}.{SOFT}"))
    weight = targets.get(f"{task.name}.{WEIGHT}")
    return loss.sum() if weight is None else (loss * weight.reshape(loss.shape)).sum()


class Criterion:
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
    ) -> None:
        self.tasks, self.normalise = tuple(tasks), normalise
        self.deep, self.deep_cells = deep, deep_cells
        weights = weights or {}
        names = [task.name for task in self.tasks]
        for name, weight in weights.items():
            if name not in names:
                raise UserError("no such task is trained", key=f"loss.weights.{name}", cure=f"use {', '.join(names)}")
            if not (weight >= 0 and math.isfinite(weight)):
                raise UserError(f"{weight} is no weight", key=f"loss.weights.{name}", cure="use a number from 0 up")
        if normalise not in get_args(Normalise):
            cure = f"use {' or '.join(get_args(Normalise))}"
            raise UserError(f"{normalise!r} is unknown", key="loss.normalise", cure=cure)
        self.weights = tuple(float(weights.get(name, 1.0)) for name in names)

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """A micro-batch's share of the denominators, ``(tasks,)`` int64: add up over micro-batches and ranks."""
        if self.normalise == "labelled":
            return label_counts(targets, self.tasks)
        shapes = [targets[task.name].shape for task in self.tasks]
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
        sums = loss_sums(predictions.final, targets, self.tasks)
        for scale, initial in enumerate(predictions.initial):
            if self.deep and min(initial[self.tasks[0].name].shape[-2:]) >= self.deep_cells:
                sums = sums + self.deep * loss_sums(predictions.at_full_size(scale), targets, self.tasks)
            else:  # a sum of nothing: its zero gradient tells engines that the parameters were used
                sums = sums + torch.stack([initial[task.name].float().flatten()[:0].sum() for task in self.tasks])
        shares = sums / denominators.to(sums.device, non_blocking=True).clamp(min=1)
        return torch.stack([weight * share for weight, share in zip(self.weights, shares, strict=True)])

    def __call__(self, predictions: "Predictions", targets: Mapping[str, Tensor], denominators: Tensor) -> Tensor:
        """The micro-batch's share of the global loss: the sum of :meth:`terms`."""
        return self.terms(predictions, targets, denominators).sum()
