"""Multi-modal distillation (MMDM): at one scale, every task attends to the other tasks' features."""

from collections.abc import Sequence

import torch
from torch import nn


class MultiModalDistillation(nn.Module):
    """Spatial attention between tasks: Vandenhende et al., "MTI-Net" (ECCV 2020), eq. 1, after PAD-Net (CVPR 2018).

    ``F°_k = F_k + Σ_{l≠k} σ(W_kl F_l) ⊙ (W'_kl F_l)``, with 3×3 convolutions W and W'. All convolutions
    that read one source's features are computed as one.

    Args:
        tasks: the tasks' names.
        channels: the scale's width C.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        outputs = 2 * channels * (len(tasks) - 1)
        self.messages = nn.ModuleDict()
        if outputs:  # a single task has no other to read from
            for task in tasks:
                self.messages[task] = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Task features ``(B, C, h, w)`` of one scale to distilled ones, same shape."""
        distilled = dict(features)
        for source, convolution in self.messages.items():
            receivers = [task for task in self.messages if task != source]
            messages = convolution(features[source]).chunk(len(receivers), 1)
            for receiver, message in zip(receivers, messages, strict=True):
                gate, value = message.chunk(2, 1)
                distilled[receiver] = torch.addcmul(distilled[receiver], torch.sigmoid(gate), value)
        return distilled
