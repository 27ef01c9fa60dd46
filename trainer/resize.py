"""A network's output at another size."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_BAND = 2**22
"""Largest number of values of a resized output in memory at once; for 40 classes, a large picture has gigabytes."""


def resize_output(output: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """Resize ``(B, C, h, w)`` bilinearly to another (height, width), and yield bands of rows that together equal the
    result of ``interpolate(align_corners=False)``; yields the output itself where it has that size."""
    if tuple(output.shape[2:]) == tuple(size):
        yield output
        return
    widened = F.interpolate(output.float(), (output.shape[2], size[1]), mode="bilinear", align_corners=False)
    positions = (torch.arange(size[0], device=output.device) + 0.5) * (output.shape[2] / size[0]) - 0.5
    positions = positions.clamp(0, output.shape[2] - 1)
    for rows in positions.split(max(1, _BAND // widened[:, :, 0].numel())):
        above = rows.long()
        below = (above + 1).clamp(max=output.shape[2] - 1)
        yield torch.lerp(widened[:, :, above], widened[:, :, below], (rows - above)[:, None])
