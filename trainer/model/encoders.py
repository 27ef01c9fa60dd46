"""Encoders from a loader's tensors to a backbone's input: one for each kind of input. None has parameters.

Every encoder pads at the right and the bottom to a multiple of the coarsest stride, with "no label" where the
input is a label, and returns a float tensor ``(B, channels, H', W')``. A label's last channel marks
where there is a label (for classes: where there is none); early fusion leaves that channel out. The encoders of labels
are defined with their kinds (:mod:`trainer.kinds`).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trainer.definition import STRIDES


class Encoder(nn.Module):
    """Encodes a batch of one modality as a float tensor ``(B, channels, H', W')``."""

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
    """Pad at the right and the bottom to a multiple of the coarsest stride."""
    bottom, right = (-side % STRIDES[-1] for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, bottom), mode, value) if bottom or right else x
