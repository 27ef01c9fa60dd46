"""How the losses of several tasks are weighed against each other.

The losses that arrive here are already normalised over the global batch and multiplied by ``loss.weights``
(:mod:`trainer.losses`). Parameters of a weighting live beside the network's, so that optimizer, engines and checkpoints
see them; an exported network has none of it. Of your own: a class derived from :class:`LossWeighting`, named as
``loss.weighting: my.module:Name``.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from trainer.extension import named


class LossWeighting(nn.Module, ABC):
    """Weighs the losses of ``count`` tasks.

    Args:
        count: how many tasks there are.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @abstractmethod
    def forward(self) -> Tensor:
        """What the weights follow from, parameters or buffers, as one tensor. Called inside the network's forward,
        where engines that keep parameters in parts have gathered them."""

    @abstractmethod
    def weigh(self, losses: Tensor, values: Tensor, share: float) -> Tensor:
        """The terms whose sum is minimised, ``(count,)``.

        Args:
            losses: a micro-batch's part of each task's loss: those of all micro-batches of all ranks add up to the
                global batch's.
            values: what :meth:`forward` gave.
            share: this micro-batch's part of what does not depend on data, 1 / (ranks × accumulation).
        """

    def observe(self, losses: Tensor, epoch: int) -> None:
        """Take note of the global batch's losses ``(count,)`` after a step; the same on all ranks. What is remembered
        must be a buffer, or a run that continues forgets it."""


class Uncertainty(LossWeighting):
    """Weights from a learnt uncertainty of each task: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty
    to Weigh Losses" (CVPR 2018), eq. 7: L / (2σ²) + log σ, with log σ² as the parameter, for all kinds alike."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.log_variance = nn.Parameter(torch.zeros(count))

    def forward(self) -> Tensor:
        return self.log_variance * 1  # a tensor of its own: the parameter may be freed after the forward

    def weigh(self, losses: Tensor, values: Tensor, share: float) -> Tensor:
        return losses * torch.exp(-values) / 2 + share * values / 2


class DynamicAverage(LossWeighting):
    """Weights from how fast each loss fell over the last two epochs: Liu, Johns and Davison, "End-to-End Multi-Task
    Learning with Attention" (CVPR 2019), eq. 7, with temperature 2."""

    TEMPERATURE = 2.0
    sums: Tensor
    means: Tensor
    epoch: Tensor
    steps: Tensor

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.register_buffer("sums", torch.zeros(count))
        self.register_buffer("means", torch.ones(2, count))  # of the last epoch and of the one before it
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self) -> Tensor:
        last, before = self.means
        return self.count * torch.softmax(last / before.clamp(min=1e-12) / self.TEMPERATURE, 0)

    def weigh(self, losses: Tensor, values: Tensor, share: float) -> Tensor:
        return losses * values

    def observe(self, losses: Tensor, epoch: int) -> None:
        if epoch > self.epoch and self.steps:
            mean = self.sums / self.steps
            first = self.epoch == 0  # there is nothing to compare it with yet
            self.means.copy_(torch.stack([mean, mean if first else self.means[0]]))
            self.sums.zero_()
            self.steps.zero_()
        self.epoch.fill_(epoch)
        self.sums += losses
        self.steps += 1


FIXED = "fixed"
"""What needs no weighting beside ``loss.weights``."""
WEIGHTINGS: dict[str, type[LossWeighting]] = {"uncertainty": Uncertainty, "dwa": DynamicAverage}


def weighting_of(name: str, count: int) -> LossWeighting | None:
    """The weighting that ``loss.weighting`` names; None for ``fixed``.

    Raises:
        UserError: when there is none of that name.
    """
    if name == FIXED:
        return None
    return named(name, WEIGHTINGS, LossWeighting, "loss.weighting")(count)  # type: ignore[type-abstract]
