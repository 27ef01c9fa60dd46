"""What a network says: labels of its output, as they are stored and drawn, and how sure it is of them."""

import numpy as np
import torch

from shards.soft import quantise
from shards.tasks import Task


def decide(task: Task, output: torch.Tensor) -> torch.Tensor:
    """Labels ``(B, H, W)`` (``(B, H, W, 3)`` for vectors) of a network's output.

    A metric value of 0 or less, which cannot be, becomes "no label".

    Args:
        output: ``(B, C, H, W)`` float32.
    """
    if task.kind == "classes":
        return output.argmax(1).to(torch.uint8)  # as metrics take it: softmax may round two classes to one confidence
    if task.kind == "metric":
        return output[:, 0].clamp(min=0)
    return torch.nn.functional.normalize(output, dim=1).permute(0, 2, 3, 1)


def soft_label(output: torch.Tensor, kept: int, scale: int) -> np.ndarray:
    """The most probable classes at a smaller scale, in the form of :func:`shards.soft.quantise`.

    Args:
        output: ``(B, C, H, W)`` float32.
        kept: how many classes, at most all of them.
        scale: probabilities are averaged over cells of about this many pixels a side.

    Returns:
        ``(B, ceil(H / scale), ceil(W / scale), 2 · kept)`` uint8.
    """
    size = [-(-side // scale) for side in output.shape[-2:]]
    p = torch.nn.functional.interpolate(output.softmax(1), size, mode="area") if scale > 1 else output.softmax(1)
    found = p.permute(0, 2, 3, 1).topk(kept, -1)
    return quantise(found.indices.to(torch.uint8).cpu().numpy(), found.values.cpu().numpy())


def confidence(task: Task, output: torch.Tensor) -> torch.Tensor | None:
    """The softmax of the class that is decided, ``(B, H, W)``; values and vectors have no confidence."""
    return output.softmax(1).amax(1) if task.kind == "classes" else None
