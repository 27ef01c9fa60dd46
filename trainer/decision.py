"""What a network's raw output means beyond its own size: labels at another one, and soft labels.

Whatever is measured, stored as a pseudo-label, predicted or drawn is decided by its kind
(:meth:`trainer.kinds.base.Learning.decide`) and nowhere else, so that all of them agree.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shards.soft import quantise
from shards.tasks import Task
from trainer.kinds import learning

_BAND = 2**22
"""Numbers of a resized output that are held at once; all of a large picture's, for 40 classes, are gigabytes."""


def decide_at(task: Task, output: Tensor, size: tuple[int, int]) -> Tensor:
    """The labels of an output at another size: outputs are resized bilinearly, and labels made of the result."""
    return torch.cat([learning(task).decide(part) for part in resized(output, size)], 1)


def soft_label(output: Tensor, kept: int, scale: int) -> np.ndarray:
    """The most probable classes at a smaller scale, in the form of :func:`shards.soft.quantise`.

    Args:
        output: ``(B, C, H, W)`` of any floating type.
        kept: how many classes, at most all of them.
        scale: probabilities are averaged over cells of about this many pixels a side.

    Returns:
        ``(B, ceil(H / scale), ceil(W / scale), 2 · kept)`` uint8.
    """
    output = output.float()
    size = [-(-side // scale) for side in output.shape[-2:]]
    p = F.interpolate(output.softmax(1), size, mode="area") if scale > 1 else output.softmax(1)
    found = p.permute(0, 2, 3, 1).topk(kept, -1)
    return quantise(found.indices.to(torch.uint8).cpu().numpy(), found.values.cpu().numpy())


def resized(output: Tensor, size: tuple[int, int]) -> Iterator[Tensor]:
    """``(B, C, h, w)`` bilinearly at another (height, width), in bands of rows that together are what
    ``interpolate(align_corners=False)`` gives; the output itself where it has that size."""
    if tuple(output.shape[2:]) == tuple(size):
        yield output
        return
    wide = F.interpolate(output.float(), (output.shape[2], size[1]), mode="bilinear", align_corners=False)
    places = (torch.arange(size[0], device=output.device) + 0.5) * (output.shape[2] / size[0]) - 0.5
    places = places.clamp(0, output.shape[2] - 1)
    for rows in places.split(max(1, _BAND // wide[:, :, 0].numel())):
        above = rows.long()
        below = (above + 1).clamp(max=output.shape[2] - 1)
        yield torch.lerp(wide[:, :, above], wide[:, :, below], (rows - above)[:, None])
