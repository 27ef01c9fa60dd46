"""Feature aggregation (FA) and the final prediction."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trainer.model.blocks import upsample


class AggregationHead(nn.Module):
    """One task's prediction from all scales: Vandenhende et al., "MTI-Net" (ECCV 2020), section 3.4.

    The scales are upsampled to the finest and joined; a 1×1 convolution with batch normalisation and ReLU
    mixes them, another one predicts. A single-task network has this head over the backbone's scales.

    Args:
        widths: the scales' channels.
        outputs: the task's channels.
    """

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        joined = sum(widths)
        self.mix = nn.Conv2d(joined, joined, 1, bias=False)
        self.bn = nn.BatchNorm2d(joined)
        self.predict = nn.Conv2d(joined, outputs, 1)

    def forward(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features ``(B, C_s, h_s, w_s)``, finest first, to ``(B, outputs, h_0, w_0)``."""
        finest, *coarser = pyramid
        joined = torch.cat([finest, *(upsample(features, finest.shape[-2:]) for features in coarser)], 1)
        return self.predict(F.relu(self.bn(self.mix(joined)), inplace=True))
