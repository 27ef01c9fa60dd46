"""Metrics of kind ``classes``: IoU and accuracy, from a confusion matrix."""

from typing import Any

from trainer.kindmetrics.base import KindMetrics, Metric, mean_of_present


class ClassMetrics(KindMetrics):
    """The sums are a confusion matrix (C, C), flat: rows are the truth, columns the prediction."""

    kind = "classes"
    metrics = (
        Metric("miou", "mIoU", "%", 100, 2, shown=True),
        Metric("pixel_accuracy", "pixel accuracy", "%", 100, 2),
        Metric("mean_accuracy", "mean accuracy", "%", 100, 2),
    )

    @property
    def sums(self) -> int:
        return self.task.channels**2

    def report(self, sums: list[int]) -> dict[str, Any]:
        """``miou``, ``iou`` by class index (None: absent), ``pixel_accuracy``, ``mean_accuracy``, ``pixels``.

        IoU is true positives over the union of truth and prediction, unlabelled pixels left out of both. The
        **convention for absent classes**: ``miou`` averages over the classes that occur in truth or prediction at
        all; one that occurs in neither is left out (None), while one that is only predicted counts as 0.
        ``mean_accuracy`` averages recall over the classes that occur in the truth.
        """
        count = self.task.channels
        size = range(count)
        hits = [sums[c * count + c] for c in size]
        truth = [sum(sums[c * count : (c + 1) * count]) for c in size]
        predicted = [sum(sums[c::count]) for c in size]
        union = [truth[c] + predicted[c] - hits[c] for c in size]
        iou = [hits[c] / union[c] if union[c] else None for c in size]
        pixels = sum(truth)
        return {
            "miou": mean_of_present(iou),
            "pixel_accuracy": sum(hits) / pixels if pixels else None,
            "mean_accuracy": mean_of_present([hits[c] / truth[c] if truth[c] else None for c in size]),
            "iou": iou,
            "pixels": pixels,
        }
