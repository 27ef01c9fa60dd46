"""Metrics pooled over every labelled pixel of an evaluation, the same to the last bit on 1 rank and on 5.

Each metric follows from sums over pixels, and all of these sums are integers: counts, and real quantities
rounded to a fixed point pixel by pixel (:mod:`trainer.fixedpoint`). Integer addition knows no order, so the split of
the samples over batches and ranks cannot show, whatever it does to a sum of floats. The sums of all tasks stand in one
int64 tensor that ranks add up::

    metrics.update(labels, targets)                    # on each rank, each of its batches
    total = all_reduce_sum(metrics.state())
    Metrics(tasks).merge(total).compute()

Labels are what :func:`trainer.decision.decide` makes of a network's output, the same that is stored and predicted. A
pixel whose truth has no label adds nothing, so a sample that only pads a batch is one without labels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from shards.tasks import Task
from trainer.fixedpoint import fixed_point_mean, fixed_point_sum, fixed_point_variance
from trainer.losses import labelled

MINIMUM = 1e-3
"""Metric predictions are raised to this much (in their unit: 1 mm of metres) before a logarithm or a ratio of a
prediction and the truth is taken."""

BINS_PER_DEGREE = 100
BINS = 180 * BINS_PER_DEGREE


def _histogram(bins: Tensor, where: Tensor, count: int) -> Tensor:
    """How often each of ``count`` bins occurs at the pixels ``where``."""
    bins = bins.where(where, count)  # one bin too many, for the pixels that do not count
    return torch.bincount(bins.flatten(), minlength=count + 1)[:count]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _measure_classes(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """The confusion matrix (C, C), flat: rows are the truth, columns the prediction."""
    count = len(task.classes)
    cells = target.long() * count + prediction
    return _histogram(cells, labelled(target, task), count * count)


def _report_classes(sums: list[int], task: Task) -> dict[str, Any]:
    """``miou``, ``iou`` by class index (None: absent), ``pixel_accuracy``, ``mean_accuracy``, ``pixels``.

    IoU is true positives over the union of truth and prediction, unlabelled pixels left out of both. The
    **convention for absent classes**: ``miou`` averages over the classes that occur in truth or prediction at
    all; one that occurs in neither is left out (None), while one that is only predicted counts as 0.
    ``mean_accuracy`` averages recall over the classes that occur in the truth.
    """
    size = range(len(task.classes))
    hits = [sums[c * len(size) + c] for c in size]
    truth = [sum(sums[c * len(size) : (c + 1) * len(size)]) for c in size]
    predicted = [sum(sums[c :: len(size)]) for c in size]
    union = [truth[c] + predicted[c] - hits[c] for c in size]
    iou = [hits[c] / union[c] if union[c] else None for c in size]
    pixels = sum(truth)
    return {
        "miou": _mean([value for value in iou if value is not None]),
        "pixel_accuracy": sum(hits) / pixels if pixels else None,
        "mean_accuracy": _mean([hits[c] / truth[c] for c in size if truth[c]]),
        "iou": iou,
        "pixels": pixels,
    }


_MEANS = ("squared", "absolute", "relative", "log_squared", "log_absolute", "log")
"""What is summed in fixed point of a metric task, in this order, between the pixels and the counts of δ."""


def _measure_metric(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """Pixels, the fixed-point sums of :data:`_MEANS`, three δ counts."""
    target = target[:, 0]
    where = labelled(target, task)
    truth = target.double().where(where, 1)
    error = (prediction.double() - truth).abs()
    raised = prediction.double().clamp(min=MINIMUM)
    ratio = torch.maximum(raised / truth, truth / raised)
    log = raised.log() - truth.log()
    # Of what is not finite its square alone counts: in the mean as well, it would cancel there.
    signed = log.where(log.isfinite(), 0)
    quantities = (error.square(), error, error / truth, log.square(), log.abs(), signed)
    return torch.cat(
        [
            where.sum()[None],
            *(fixed_point_sum(quantity, where) for quantity in quantities),
            torch.stack([((ratio < 1.25**k) & where).sum() for k in (1, 2, 3)]),
        ]
    )


def _report_metric(sums: list[int], task: Task) -> dict[str, Any]:
    """With p the prediction, t the truth, and means over all pixels of the evaluation:

    - in the task's unit ``rmse``, √mean((p − t)²), and ``mae``, mean |p − t|;
    - ``logrmse``, √mean(d²) with d = ln p − ln t (values in that unit); ``log10``, mean |log₁₀ p − log₁₀ t|;
    - ``silog``, √(mean(d²) − mean(d)²), what a common factor of all predictions does not change: the root of the
      scale-invariant error of Eigen et al. 2014 (λ = 1), of which KITTI's benchmark prints 100 times as much. Below
      1e-4 it is rounding;
    - ``absrel``, mean(|p − t| / t); ``delta1`` to ``delta3``, shares of pixels with max(p/t, t/p) < 1.25^k;
    - ``pixels``.

    Logarithms and δ see predictions of at least :data:`MINIMUM`.
    """
    pixels = sums[0]
    names = ("rmse", "logrmse", "absrel", "delta1", "delta2", "delta3", "mae", "log10", "silog")
    if not pixels:
        return dict.fromkeys(names) | {"pixels": 0}
    parts = {name: sums[1 + 2 * at : 3 + 2 * at] for at, name in enumerate(_MEANS)}
    mean = {name: fixed_point_mean(of, pixels) for name, of in parts.items()}
    shares = [count / pixels for count in sums[1 + 2 * len(_MEANS) :]]
    scale_free = fixed_point_variance(parts["log"], parts["log_squared"], pixels) ** 0.5
    values = (mean["squared"] ** 0.5, mean["log_squared"] ** 0.5, mean["relative"], *shares)
    values += (mean["absolute"], mean["log_absolute"] / math.log(10), scale_free)
    return dict(zip(names, values, strict=True)) | {"pixels": pixels}


def _measure_unit_vector(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """The fixed-point sum of the angles in degrees and their histogram. A zero prediction is at 90°."""
    where = labelled(target, task).squeeze(1)
    prediction, truth = prediction.permute(0, 3, 1, 2).double(), target.double()
    # atan2 keeps full precision where acos(cosine) loses half of the digits: near 0° and 180°.
    across = torch.linalg.cross(prediction, truth, dim=1).norm(dim=1)
    angles = torch.atan2(across, (prediction * truth).sum(dim=1)).rad2deg().nan_to_num(180)
    angles = angles.masked_fill((prediction == 0).all(dim=1), 90)
    bins = (angles * BINS_PER_DEGREE).long().clamp(max=BINS - 1)
    return torch.cat([fixed_point_sum(angles, where), _histogram(bins, where, BINS)])


def _report_unit_vector(sums: list[int], task: Task) -> dict[str, Any]:
    """``mean`` and ``median`` angle in degrees (the median to half a bin, 0.005°), the shares of pixels
    ``within_11.25``, ``within_22.5`` and ``within_30`` degrees, and ``pixels``.
    """
    histogram = sums[2:]
    pixels = sum(histogram)
    limits = (11.25, 22.5, 30)
    if not pixels:
        return dict.fromkeys(("mean", "median", *(f"within_{limit}" for limit in limits))) | {"pixels": 0}
    seen = middle = 0
    while 2 * (seen := seen + histogram[middle]) < pixels:
        middle += 1
    shares = {f"within_{limit}": sum(histogram[: int(limit * BINS_PER_DEGREE)]) / pixels for limit in limits}
    mean = fixed_point_mean(sums[:2], pixels)
    return {"mean": mean, "median": (middle + 0.5) / BINS_PER_DEGREE, **shares, "pixels": pixels}


class _Sums(NamedTuple):
    """How a kind of task is measured: the number of its sums, a batch's share of them, and their meaning."""

    size: Callable[[Task], int]
    measure: Callable[[Tensor, Tensor, Task], Tensor]
    report: Callable[[list[int], Task], dict[str, Any]]


_KINDS: dict[str, _Sums] = {
    "classes": _Sums(lambda task: len(task.classes) ** 2, _measure_classes, _report_classes),
    "metric": _Sums(lambda task: 1 + 2 * len(_MEANS) + 3, _measure_metric, _report_metric),
    "unit_vector": _Sums(lambda task: 2 + BINS, _measure_unit_vector, _report_unit_vector),
}


class Metrics:
    """Accumulates the metrics of ``tasks`` over an evaluation.

    Args:
        tasks: the tasks that are measured.
        device: where predictions and targets are, and where the sums are kept.
    """

    def __init__(self, tasks: Sequence[Task], device: torch.device | str = "cpu") -> None:
        self.tasks = tuple(tasks)
        self._sizes = [_KINDS[task.kind].size(task) for task in self.tasks]
        self._sums = torch.zeros(sum(self._sizes), dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, labels: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            labels: by task, of a prediction, as :func:`trainer.decision.decide` gives them.
            targets: by task, as :mod:`trainer.losses` takes them; each must be there, if only without a label.
        """
        for task, sums in zip(self.tasks, self._sums.split(self._sizes), strict=True):
            sums += _KINDS[task.kind].measure(labels[task.name], targets[task.name], task)

    def state(self) -> Tensor:
        """All sums so far, a new flat int64 tensor. States of disjoint samples add up to the state of all."""
        return self._sums.clone()

    def merge(self, state: Tensor) -> Self:
        """Add another rank's :meth:`state`, or an all-reduced one to an empty accumulator."""
        self._sums += state.to(self._sums.device)
        return self

    def compute(self) -> dict[str, dict[str, Any]]:
        """Each task's metrics, as JSON values; None where no pixel (or class) says anything.

        Classes: ``miou`` (averaged over the classes that occur in truth or prediction), ``pixel_accuracy``,
        ``mean_accuracy``, ``iou`` by class index. Metric: ``rmse``, ``logrmse`` (natural), ``absrel``, ``delta1``
        to ``delta3``, ``mae``, ``log10``, ``silog``. Unit vectors: ``mean`` and ``median`` angle in degrees,
        ``within_11.25``, ``within_22.5``, ``within_30``. Every kind: ``pixels``, the number of labelled pixels.
        """
        parts = zip(self.tasks, self._sums.cpu().split(self._sizes), strict=True)
        return {task.name: _KINDS[task.kind].report(sums.tolist(), task) for task, sums in parts}
