"""Building blocks that several parts of the networks share."""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    """The residual basic block of He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016), eq. 1 and 2.

    Two 3×3 convolutions, ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``; the shortcut is a 1×1 convolution
    where the widths differ.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(residual)) + self.shortcut(x), inplace=True)


class SqueezeExcitation(nn.Module):
    """Weighs channels by their global context: Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), eq. 2 to 4.

    ``(B, channels, H, W)`` to the same shape.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


def upsample(x: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Resize ``(B, C, h, w)`` to ``(B, C, *size)`` bilinearly, aligned at the image's borders."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
