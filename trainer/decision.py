"""Decisions from a network's raw output beyond its own size: labels at another size, and soft labels.

Every label that is measured, stored as a pseudo-label, predicted or drawn is decided by its kind
(:meth:`trainer.kinds.base.Learning.decide`) and nowhere else, so that all of them agree.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shards.soft import quantise
from shards.tasks import Task
from trainer.kinds import learning
from trainer.resize import resize_output


def decide_at(task: Task, output: Tensor, size: tuple[int, int]) -> Tensor:
    """Return an output's labels at another size, decided after the output is resized bilinearly."""
    return torch.cat([learning(task).decide(part) for part in resize_output(output, size)], 1)


def soft_label(output: Tensor, classes: int, scale: int) -> np.ndarray:
    """Return the most probable classes at a smaller scale, in the form of :func:`shards.soft.quantise`.

    Args:
        output: ``(B, C, H, W)`` of any floating type.
        classes: number of classes that are kept, at most C.
        scale: probabilities are averaged over cells of about this many pixels a side.

    Returns:
        ``(B, ceil(H / scale), ceil(W / scale), 2 · classes)`` uint8.
    """
    output = output.float()
    size = [-(-side // scale) for side in output.shape[-2:]]
    p = F.interpolate(output.softmax(1), size, mode="area") if scale > 1 else output.softmax(1)
    top = p.permute(0, 2, 3, 1).topk(classes, -1)
    return quantise(top.indices.to(torch.uint8).cpu().numpy(), top.values.cpu().numpy())
