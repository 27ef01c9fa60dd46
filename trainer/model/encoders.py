"""From what a loader gives to what a backbone reads: one encoder for each kind of input. None has parameters.

Every encoder pads at the right and the bottom to a multiple of the coarsest stride, with "no label" where the
input is a label, and gives a float tensor ``(B, channels, H', W')``. A label's last channel says
where the label exists (for classes: where it does not); early fusion leaves that channel out. The encoders of labels
stand with their kinds (:mod:`trainer.kinds`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trainer.model.backbone import STRIDES


class Encoder(nn.Module):
    """Makes a float tensor ``(B, channels, H', W')`` of a batch of one modality."""

    channels: int


class RGBEncoder(Encoder):
    """RGB in [0, 1], ``(B, 3, H, W)``, normalised by a mean and standard deviation of each channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels = 3
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return (pad(rgb, mode="replicate") - self.mean) / self.std


def pad(x: torch.Tensor, mode: str = "constant", value: float | None = None) -> torch.Tensor:
    """At the right and the bottom, to a multiple of the coarsest stride."""
    bottom, right = (-side % STRIDES[-1] for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, bottom), mode, value) if bottom or right else x
