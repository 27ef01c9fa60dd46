"""A custom loss weighting: random weights at every step, by ``loss.weighting: my_weighting:RandomWeights``.

Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning" (TMLR 2022): weights
are drawn at each step as the softmax of normal random numbers, and are equal on average.
"""

import torch
from torch import Tensor

from trainer.weighting import LossWeighting


class RandomWeights(LossWeighting):
    """Draws from a generator seeded by the number of steps, so that a resumed run continues the same sequence."""

    steps: Tensor

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self) -> Tensor:
        generator = torch.Generator().manual_seed(int(self.steps))
        return self.count * torch.softmax(torch.randn(self.count, generator=generator), 0).to(self.steps.device)

    def weigh(self, losses: Tensor, values: Tensor, share: Tensor) -> Tensor:
        return losses * values

    def observe(self, losses: Tensor, epoch: int) -> None:
        self.steps += 1
