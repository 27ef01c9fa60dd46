"""The feature propagation module (FPM): what the tasks learnt at one scale, handed to the next finer one."""

from collections.abc import Sequence

import torch
from torch import nn

from trainer.model.blocks import BasicBlock, SqueezeExcitation


class FeaturePropagation(nn.Module):
    """The FPM of Vandenhende et al., "MTI-Net" (ECCV 2020), section 3.3.

    The tasks' features are joined; a shared feature is computed from all of them; every task takes its
    part of it by an attention mask, a softmax over the tasks; what it takes is weighed by a
    squeeze-and-excitation and added to its own feature.

    Args:
        tasks: the tasks' names, in the order in which their features are joined.
        channels: the scale's width C.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        joined = len(tasks) * channels
        squeezed = max(1, joined // 4)
        self.attention = nn.Sequential(
            BasicBlock(joined, squeezed), BasicBlock(squeezed, squeezed), nn.Conv2d(squeezed, joined, 1)
        )
        self.shared = BasicBlock(joined, channels)
        self.excitation = nn.ModuleDict({task: SqueezeExcitation(channels) for task in tasks})

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Task features ``(B, C, h, w)`` of one scale to those that the next finer scale receives, same shape."""
        joined = torch.cat([features[task] for task in self.excitation], 1)
        shared = self.shared(joined)
        masks = attend(self.attention(joined), len(self.excitation))
        return {
            task: features[task] + excite(mask.to(shared.dtype) * shared)  # autocast's softmax gives float32
            for (task, excite), mask in zip(self.excitation.items(), masks, strict=True)
        }


def attend(logits: torch.Tensor, tasks: int) -> tuple[torch.Tensor, ...]:
    """The attention masks of all tasks, which sum to one over the tasks at every channel and pixel.

    Args:
        logits: ``(B, tasks·C, h, w)``, a task's channels side by side.
        tasks: how many tasks there are.

    Returns:
        One mask ``(B, C, h, w)`` for each task.
    """
    last = logits.permute(0, 2, 3, 1)  # as it lies in memory, so that the softmax copies nothing
    masks = last.unflatten(-1, (tasks, -1)).softmax(-2)
    return tuple(mask.permute(0, 3, 1, 2) for mask in masks.unbind(-2))
