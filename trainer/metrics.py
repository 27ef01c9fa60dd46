"""Metrics pooled over every labelled pixel of an evaluation, the same to the last bit on 1 rank and on 5.

Each metric follows from sums over pixels, and all of these sums are integers: counts, and real quantities
rounded to a fixed point pixel by pixel. Integer addition knows no order, so the split of the samples over
batches and ranks cannot show, whatever it does to a sum of floats. The sums of all tasks stand in one int64
tensor that ranks add up::

    metrics.update(predictions.final, targets)         # on each rank, each of its batches
    total = all_reduce_sum(metrics.state())
    Metrics(tasks).merge(total).compute()

A pixel without a label adds nothing, so a sample that only pads a batch is one without labels.

**Fixed point.** A quantity is taken in double precision and rounded to 2⁻²⁸ (4e-9) of its unit; the rounding also
hides that a logarithm's last bit differs between code paths. It saturates at 2³⁴, where NaN and infinity end
too: a network that has diverged shows as a huge error, never as a number that cannot be printed. High and
low bits are summed apart, which leaves room for any errors of nearly 2³² labelled pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from shards.tasks import Kind, Task
from trainer.losses import labelled

MINIMUM = 1e-3
"""Metric predictions are raised to this much (in their unit) before a logarithm or a ratio is taken."""

HEADLINE: dict[Kind, str] = {"classes": "miou", "metric": "rmse", "unit_vector": "mean"}
"""The one metric of each kind that networks are compared by, where only one is asked for."""

FRACTION_BITS, LOW_BITS, SATURATION = 28, 31, 2.0**34
BINS_PER_DEGREE = 100
BINS = 180 * BINS_PER_DEGREE


def fixed_point_sum(values: Tensor, where: Tensor) -> Tensor:
    """The sum of non-negative ``values`` at the pixels ``where``, as ``(2,)`` int64: high and low part."""
    values = values.nan_to_num(SATURATION).clamp(max=SATURATION).where(where, 0)
    units = (values * 2**FRACTION_BITS).round().long()
    return torch.stack([(units >> LOW_BITS).sum(), (units & (2**LOW_BITS - 1)).sum()])


def fixed_point_mean(parts: Sequence[int], count: int) -> float:
    """The mean over ``count`` pixels of what :func:`fixed_point_sum` summed; the only rounding is this one's."""
    high, low = parts
    return ((high << LOW_BITS) + low) / (count << FRACTION_BITS)


def _histogram(bins: Tensor, where: Tensor, count: int) -> Tensor:
    """How often each of ``count`` bins occurs at the pixels ``where``."""
    bins = bins.where(where, count)  # one bin too many, for the pixels that do not count
    return torch.bincount(bins.flatten(), minlength=count + 1)[:count]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _measure_classes(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """The confusion matrix (C, C), flat: rows are the truth, columns the prediction."""
    count = len(task.classes)
    cells = target.long() * count + prediction.argmax(dim=1)
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


def _measure_metric(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """Pixels, three fixed-point sums (squared error, squared log error, relative error), three δ counts."""
    where = labelled(target, task)
    truth = target.double().where(where, 1)
    error = (prediction.double() - truth).abs()
    raised = prediction.double().clamp(min=MINIMUM)
    ratio = torch.maximum(raised / truth, truth / raised)
    return torch.cat(
        [
            where.sum()[None],
            fixed_point_sum(error.square(), where),
            fixed_point_sum((raised.log() - truth.log()).square(), where),
            fixed_point_sum(error / truth, where),
            torch.stack([((ratio < 1.25**k) & where).sum() for k in (1, 2, 3)]),
        ]
    )


def _report_metric(sums: list[int], task: Task) -> dict[str, Any]:
    """``rmse`` in the task's unit, ``logrmse`` (natural logarithm of values in that unit), ``absrel``
    (|prediction − truth| / truth), ``delta1`` to ``delta3`` (shares of pixels with max(p/t, t/p) < 1.25^k; Eigen
    et al. 2014), ``pixels``. Logarithm and δ see predictions of at least :data:`MINIMUM`.
    """
    pixels = sums[0]
    names = ("rmse", "logrmse", "absrel", "delta1", "delta2", "delta3")
    if not pixels:
        return dict.fromkeys(names) | {"pixels": 0}
    squared, log_squared, relative = (fixed_point_mean(sums[at : at + 2], pixels) for at in (1, 3, 5))
    shares = [count / pixels for count in sums[7:]]
    values = (squared**0.5, log_squared**0.5, relative, *shares)
    return dict(zip(names, values, strict=True)) | {"pixels": pixels}


def _measure_unit_vector(prediction: Tensor, target: Tensor, task: Task) -> Tensor:
    """The fixed-point sum of the angles in degrees and their histogram. A zero prediction is at 90°."""
    where = labelled(target, task).squeeze(1)
    prediction, truth = prediction.double(), target.double()
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


_KINDS: dict[Kind, _Sums] = {
    "classes": _Sums(lambda task: len(task.classes) ** 2, _measure_classes, _report_classes),
    "metric": _Sums(lambda task: 10, _measure_metric, _report_metric),
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
    def update(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Add a batch.

        Args:
            predictions: by task, ``(B, channels, H, W)`` of any floating type (:class:`Predictions`' ``final``).
            targets: by task, as :mod:`trainer.losses` takes them; each must be there, if only without a label.
        """
        for task, sums in zip(self.tasks, self._sums.split(self._sizes), strict=True):
            sums += _KINDS[task.kind].measure(predictions[task.name], targets[task.name], task)

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
        to ``delta3``. Unit vectors: ``mean`` and ``median`` angle in degrees, ``within_11.25``, ``within_22.5``,
        ``within_30``. Every kind: ``pixels``, the number of labelled pixels.
        """
        parts = zip(self.tasks, self._sums.cpu().split(self._sizes), strict=True)
        return {task.name: _KINDS[task.kind].report(sums.tolist(), task) for task, sums in parts}
