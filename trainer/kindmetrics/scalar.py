"""Metrics of kind ``scalar``: RMSE and others, of values and of their logarithms and ratios."""

import math
from typing import Any

from trainer.fixedpoint import fixed_point_mean, fixed_point_variance
from trainer.kindmetrics.base import KindMetrics, Metric

MINIMUM = 1e-3
"""Predictions are clamped to at least this (in their unit: 1 mm for metres), or to the scale of a finer task, before a
logarithm or a ratio of prediction and truth is taken."""
QUANTITIES = ("squared", "absolute", "relative", "log_squared", "log_absolute", "log")
"""What is summed in fixed point, in this order, between the pixels and the counts of δ."""
_POWERS = (1, 2, 3)


class ScalarMetrics(KindMetrics):
    """The sums are the pixels, the fixed-point sums of :data:`QUANTITIES`, and three counts of δ."""

    kind = "scalar"
    metrics = (
        Metric("rmse", "rmse", None, smaller_is_better=True, shown=True),
        Metric("rmse_log", "rmse_log", smaller_is_better=True, shown=True),
        Metric("mae", "mae", None, smaller_is_better=True),
        Metric("abs_rel", "abs_rel", smaller_is_better=True),
        Metric("log10", "log10", smaller_is_better=True),
        Metric("silog", "SILog ×100", "", 100, 2, smaller_is_better=True),
        *(Metric(f"delta{power}", f"δ{power}", "%", 100, 2) for power in _POWERS),
    )

    @property
    def sums(self) -> int:
        return 1 + 2 * len(QUANTITIES) + len(_POWERS)

    @property
    def step(self) -> float:
        """What errors are multiples of in fixed point: a power of two in the unit, 1 for a scale of 0.001, so that 16
        bits of any scale neither saturate it nor are lost in its rounding."""
        return 2.0 ** round(math.log2(self.task.scale / MINIMUM))

    @property
    def minimum(self) -> float:
        """What predictions are clamped to for logarithms and ratios: :data:`MINIMUM`, or less where labels may be."""
        return min(MINIMUM, self.task.scale)

    def report(self, sums: list[int]) -> dict[str, Any]:
        """With p the prediction, t the truth, and means over all pixels of the evaluation:

        - in the task's unit ``rmse``, √mean((p − t)²), and ``mae``, mean |p − t|;
        - ``rmse_log``, √mean(d²) with d = ln p − ln t (values in that unit); ``log10``, mean |log₁₀ p − log₁₀ t|;
        - ``silog``, √(mean(d²) − mean(d)²), which a common factor of all predictions does not change: the root of the
          scale-invariant error of Eigen et al. 2014 (λ = 1), of which KITTI's benchmark prints 100 times as much.
          Below 1e-4 it is rounding;
        - ``abs_rel``, mean(|p − t| / t); ``delta1`` to ``delta3``, shares of pixels with max(p/t, t/p) < 1.25^k;
        - ``pixels``.

        For logarithms and δ, predictions are clamped to at least :attr:`minimum`.
        """
        pixels = sums[0]
        names = ("rmse", "rmse_log", "abs_rel", "delta1", "delta2", "delta3", "mae", "log10", "silog")
        if not pixels:
            return dict.fromkeys(names) | {"pixels": 0}
        parts = {name: sums[1 + 2 * index : 3 + 2 * index] for index, name in enumerate(QUANTITIES)}
        mean = {name: fixed_point_mean(part, pixels) for name, part in parts.items()}
        shares = [count / pixels for count in sums[1 + 2 * len(QUANTITIES) :]]
        scale_free = fixed_point_variance(parts["log"], parts["log_squared"], pixels) ** 0.5
        values = (mean["squared"] ** 0.5 * self.step, mean["log_squared"] ** 0.5, mean["relative"], *shares)
        values += (mean["absolute"] * self.step, mean["log_absolute"] / math.log(10), scale_free)
        return dict(zip(names, values, strict=True)) | {"pixels": pixels}
