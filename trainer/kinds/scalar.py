"""Kind ``scalar``: absolute error, the value itself, RMSE and related metrics."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.fixedpoint import fixed_point_mean, fixed_point_sum, fixed_point_variance
from trainer.kinds.base import Learning
from trainer.model.encoders import Encoder, pad

MINIMUM = 1e-3
"""Predictions are clamped to at least this (in their unit: 1 mm for metres) before a logarithm or a ratio of
prediction and truth is taken."""
_MEANS = ("squared", "absolute", "relative", "log_squared", "log_absolute", "log")
"""The quantities that are summed in fixed point, in this order, between the pixels and the counts of δ."""


class ScalarEncoder(Encoder):
    """A quantity ``(B, 1, H, W)`` in its unit, 0 = no measurement: ``(x − mean) / std``, 0 where unmeasured."""

    def __init__(self, mean: float, std: float, validity: bool) -> None:
        super().__init__()
        self.mean, self.std, self.validity = mean, std, validity
        self.channels = 1 + validity

    def forward(self, values: Tensor) -> Tensor:
        values = pad(values)
        measured = values > 0
        normalised = torch.where(measured, (values - self.mean) / self.std, 0.0)
        return torch.cat([normalised, measured.to(values.dtype)], 1) if self.validity else normalised


class ScalarLearning(Learning):
    """Tensors are float32 ``(1, H, W)`` in the task's unit, 0 for no label; so are outputs, of any value."""

    kind = "scalar"

    def view(self, array: Tensor) -> Tensor:
        return array[None]

    def array(self, tensor: Tensor) -> np.ndarray:
        return tensor[0].numpy()

    def labelled(self, target: Tensor) -> Tensor:
        return target != 0

    def augmented(self, tensor: Tensor, zoom: float, mirrored: bool) -> Tensor:
        if zoom == 1:
            return tensor
        if self.task.zoom == "divide":
            return tensor.div_(zoom)
        return tensor.mul_(zoom) if self.task.zoom == "multiply" else tensor

    def encoder(self, statistics: tuple[float, float] | None, validity: bool) -> Encoder:
        assert statistics is not None, "the architecture requires statistics of quantities"
        return ScalarEncoder(*statistics, validity)

    def checked(self, name: str, array: np.ndarray) -> np.ndarray:
        return super().checked(name, array).clip(min=0)

    def loss(self, prediction: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
        """Absolute error in the unit (the paper's L_D)."""
        return torch.where(target != 0, (prediction - target).abs(), 0)

    def decide(self, output: Tensor) -> Tensor:
        """The value, float32 ``(B, H, W)``, at least 0, which is "no label" where it is stored."""
        return output.float()[:, 0].clamp(min=0)

    def mean_of_two(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """The mean; the agreement is the smaller value over the larger."""
        a, b = one.clamp(min=0)[:, 0], other.clamp(min=0)[:, 0]
        return (one + other) / 2, torch.minimum(a, b) / torch.maximum(a, b).clamp(min=1e-6)

    @property
    def sums(self) -> int:
        return 1 + 2 * len(_MEANS) + 3

    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        """Pixels, the fixed-point sums of six quantities, three δ counts."""
        target = target[:, 0]
        where = self.labelled(target)
        truth = target.double().where(where, 1)
        error = (decision.double() - truth).abs()
        clamped = decision.double().clamp(min=MINIMUM)
        ratio = torch.maximum(clamped / truth, truth / clamped)
        log = clamped.log() - truth.log()
        # A value that is not finite counts through its square alone: in the mean as well, it would cancel there.
        signed = log.where(log.isfinite(), 0)
        quantities = (error.square(), error, error / truth, log.square(), log.abs(), signed)
        return torch.cat(
            [
                where.sum()[None],
                *(fixed_point_sum(quantity, where) for quantity in quantities),
                torch.stack([((ratio < 1.25**k) & where).sum() for k in (1, 2, 3)]),
            ]
        )

    def report(self, sums: list[int]) -> dict[str, Any]:
        """With p the prediction, t the truth, and means over all pixels of the evaluation:

        - in the task's unit ``rmse``, √mean((p − t)²), and ``mae``, mean |p − t|;
        - ``rmse_log``, √mean(d²) with d = ln p − ln t (values in that unit); ``log10``, mean |log₁₀ p − log₁₀ t|;
        - ``silog``, √(mean(d²) − mean(d)²), which a common factor of all predictions does not change: the root of the
          scale-invariant error of Eigen et al. 2014 (λ = 1), of which KITTI's benchmark prints 100 times as much.
          Below 1e-4 it is rounding;
        - ``abs_rel``, mean(|p − t| / t); ``delta1`` to ``delta3``, shares of pixels with max(p/t, t/p) < 1.25^k;
        - ``pixels``.

        For logarithms and δ, predictions are clamped to at least :data:`MINIMUM`.
        """
        pixels = sums[0]
        names = ("rmse", "rmse_log", "abs_rel", "delta1", "delta2", "delta3", "mae", "log10", "silog")
        if not pixels:
            return dict.fromkeys(names) | {"pixels": 0}
        parts = {name: sums[1 + 2 * index : 3 + 2 * index] for index, name in enumerate(_MEANS)}
        mean = {name: fixed_point_mean(part, pixels) for name, part in parts.items()}
        shares = [count / pixels for count in sums[1 + 2 * len(_MEANS) :]]
        scale_free = fixed_point_variance(parts["log"], parts["log_squared"], pixels) ** 0.5
        values = (mean["squared"] ** 0.5, mean["log_squared"] ** 0.5, mean["relative"], *shares)
        values += (mean["absolute"], mean["log_absolute"] / math.log(10), scale_free)
        return dict(zip(names, values, strict=True)) | {"pixels": pixels}

    def start(self, statistics: Mapping[str, tuple[float, float]]) -> float | None:
        """The mean over the training split, where the architecture's statistics contain it."""
        return statistics[self.task.name][0] if self.task.name in statistics else None
