"""Kind ``scalar``: absolute error, the value itself, sums of errors."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trainer.fixedpoint import fixed_point_sum
from trainer.kindmetrics.scalar import ScalarMetrics
from trainer.kinds.base import Learning
from trainer.model.encoders import Encoder, pad


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


class ScalarLearning(ScalarMetrics, Learning):
    """Tensors are float32 ``(1, H, W)`` in the task's unit, 0 for no label; so are outputs, of any value."""

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

    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        target = target[:, 0]
        where = self.labelled(target)
        truth = target.double().where(where, 1)
        error = (decision.double() - truth).abs()
        clamped = decision.double().clamp(min=self.minimum)
        ratio = torch.maximum(clamped / truth, truth / clamped)
        log = clamped.log() - truth.log()
        # A value that is not finite counts through its square alone: in the mean as well, it would cancel there.
        signed = log.where(log.isfinite(), 0)
        steps = error / self.step
        quantities = (steps.square(), steps, error / truth, log.square(), log.abs(), signed)  # as QUANTITIES lists them
        return torch.cat(
            [
                where.sum()[None],
                *(fixed_point_sum(quantity, where) for quantity in quantities),
                torch.stack([((ratio < 1.25**k) & where).sum() for k in (1, 2, 3)]),
            ]
        )

    def restrict(
        self, label: Tensor, truth: Tensor, limits: tuple[float, float] | None, window: tuple[slice, slice] | None
    ) -> tuple[Tensor, Tensor]:
        """Clamp labels to the range (the protocol of Eigen et al.); the truth has no label outside range and window."""
        if window:
            inside = truth.new_zeros(truth.shape)
            inside[..., window[0], window[1]] = 1
            truth = truth * inside
        if limits:
            least, most = limits
            label, truth = label.clamp(least, most), truth.where((truth >= least) & (truth <= most), 0)
        return label, truth

    def start(self, statistics: Mapping[str, tuple[float, float]]) -> float | None:
        """The mean over the training split, where the architecture's statistics contain it."""
        return statistics[self.task.name][0] if self.task.name in statistics else None
