"""Metrics of kind ``binary``: IoU, F1 and average precision of each mask."""

from typing import Any

from trainer.kindmetrics.base import KindMetrics, Metric, mean_of_present

BINS = 1000
"""The number of steps of a probability by which pixels are ranked for average precision."""
_SIZE = 4 + 2 * BINS


class BinaryMetrics(KindMetrics):
    """The sums are, for each mask: true negatives, false positives, false negatives and true positives, and histograms
    of the probability of pixels where the mask does not hold and where it does."""

    kind = "binary"
    metrics = (
        Metric("mask_iou", "mask IoU", "%", 100, 2, shown=True),
        Metric("f1", "F1", "%", 100, 2),
        Metric("average_precision", "AP", "%", 100, 2),
    )

    @property
    def sums(self) -> int:
        return self.task.channels * _SIZE

    def report(self, sums: list[int]) -> dict[str, Any]:
        """``mask_iou`` and ``f1``, means over the masks that occur in truth or prediction, with ``iou`` by mask (None:
        absent); ``average_precision``, the mean over the masks that occur in the truth of the area under precision over
        recall, pixels ranked by probability in steps of 1/1000 (None where there were no outputs); ``pixels``."""
        iou, f1, precision, pixels = [], [], [], 0
        for start in range(0, len(sums), _SIZE):
            true_negative, false_positive, false_negative, true_positive = sums[start : start + 4]
            pixels = true_negative + false_positive + false_negative + true_positive
            union = true_positive + false_positive + false_negative
            iou.append(true_positive / union if union else None)
            f1.append(2 * true_positive / (true_positive + union) if union else None)
            negatives, positives = sums[start + 4 : start + 4 + BINS], sums[start + 4 + BINS : start + _SIZE]
            precision.append(_average_precision(positives, negatives))
        means = {"mask_iou": iou, "f1": f1, "average_precision": precision}
        return {name: mean_of_present(values) for name, values in means.items()} | {"iou": iou, "pixels": pixels}


def _average_precision(positives: list[int], negatives: list[int]) -> float | None:
    """Σ (R_n − R_(n−1)) P_n over falling probability, of pixels where a mask holds and where it does not, by bin."""
    total, true_positive, false_positive, area = sum(positives), 0, 0, 0.0
    for hits, misses in zip(reversed(positives), reversed(negatives), strict=True):
        true_positive, false_positive = true_positive + hits, false_positive + misses
        if hits:
            area += hits / total * true_positive / (true_positive + false_positive)
    return area if total else None
