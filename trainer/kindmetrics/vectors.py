"""Metrics of kind ``unit_vector``: the angle between prediction and truth, in degrees."""

from typing import Any

from trainer.fixedpoint import fixed_point_mean
from trainer.kindmetrics.base import KindMetrics, Metric

BINS_PER_DEGREE = 100
BINS = 180 * BINS_PER_DEGREE
LIMITS = (11.25, 22.5, 30)
"""Degrees: the usual error thresholds, of which the shares of pixels within are metrics."""


class UnitVectorMetrics(KindMetrics):
    """The sums are the fixed-point sum of the angles and their histogram."""

    kind = "unit_vector"
    metrics = (
        Metric("mean", "mean °", "°", 1, 2, smaller_is_better=True, shown=True),
        Metric("median", "median °", "°", 1, 2, smaller_is_better=True),
        *(Metric(f"within_{limit}", f"within {limit}°", "%", 100, 2) for limit in LIMITS),
    )

    @property
    def sums(self) -> int:
        return 2 + BINS

    def report(self, sums: list[int]) -> dict[str, Any]:
        """``mean`` and ``median`` angle in degrees (the median to half a bin, 0.005°), the shares of pixels
        ``within_11.25``, ``within_22.5`` and ``within_30`` degrees, and ``pixels``."""
        counts = sums[2:]
        pixels = sum(counts)
        if not pixels:
            return dict.fromkeys(metric.name for metric in self.metrics) | {"pixels": 0}
        cumulative = middle = 0
        while 2 * (cumulative := cumulative + counts[middle]) < pixels:
            middle += 1
        shares = {f"within_{limit}": sum(counts[: int(limit * BINS_PER_DEGREE)]) / pixels for limit in LIMITS}
        mean = fixed_point_mean(sums[:2], pixels)
        return {"mean": mean, "median": (middle + 0.5) / BINS_PER_DEGREE, **shares, "pixels": pixels}
