"""The feature propagation module (FPM): passes task features from one scale to the next finer one."""

from collections.abc import Sequence

import torch
from torch import nn

from trainer.model.blocks import BasicBlock, SqueezeExcitation


class FeaturePropagation(nn.Module):
    """The FPM of Vandenhende et al., "MTI-Net" (ECCV 2020), section 3.3.

    From the concatenated features of all N tasks an attention mask is computed for each task, a softmax over the tasks.
    Each task's feature times its mask, concatenated and reduced from N·C channels to C, is the shared feature, which
    each task's squeeze-and-excitation weighs and adds to that task's feature::

        M = softmax over tasks of attention([F_1 ... F_N])
        S = shared([M_1 ⊙ F_1 ... M_N ⊙ F_N])
        F'_k = F_k + SE_k(S)

    With a single task there is no attention.

    Args:
        tasks: the tasks' names, in the order in which their features are concatenated.
        channels: the scale's width C.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        joined = len(tasks) * channels
        squeezed = max(1, joined // 4)
        self.attention = (
            nn.Sequential(BasicBlock(joined, squeezed), BasicBlock(squeezed, squeezed), nn.Conv2d(squeezed, joined, 1))
            if len(tasks) > 1
            else None
        )
        self.shared = BasicBlock(joined, channels)
        self.excitation = nn.ModuleDict({task: SqueezeExcitation(channels) for task in tasks})

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Task features ``(B, C, h, w)`` of one scale to those that the next finer scale receives, same shape."""
        joined = torch.cat([features[task] for task in self.excitation], 1)
        if self.attention is not None:
            # A task's channels are contiguous in the features as in the logits.
            masks = torch.cat(attend(self.attention(joined), len(self.excitation)), 1)
            joined = masks.to(joined.dtype) * joined  # autocast's softmax gives float32
        shared = self.shared(joined)
        return {task: features[task] + excite(shared) for task, excite in self.excitation.items()}


def attend(logits: torch.Tensor, tasks: int) -> tuple[torch.Tensor, ...]:
    """Return the attention masks of all tasks, which sum to one over the tasks at every channel and pixel.

    Args:
        logits: ``(B, tasks·C, h, w)``, a task's channels contiguous.
        tasks: the number of tasks.

    Returns:
        One mask ``(B, C, h, w)`` for each task.
    """
    channels_last = logits.permute(0, 2, 3, 1)  # the memory layout, so that the softmax copies nothing
    masks = channels_last.unflatten(-1, (tasks, -1)).softmax(-2)
    return tuple(mask.permute(0, 3, 1, 2) for mask in masks.unbind(-2))
