"""The network ``fpn``: a light decoder for small backbones.

::

    inputs ── encoders ── backbones ── fusion ─┬─ stride 32 ── lateral ─────────── smooth ─┐
    (by name)          (per modality,   (FFM)  │                  ↓ + nearest              │
                        four scales)           ├─ stride 16 ── lateral ─────────── smooth ─┼─ heads ── final
                                               │                  ↓ + nearest              │  (one per task)
                                               ├─ stride  8 ── lateral ─────────── smooth ─┤
                                               │                  ↓ + nearest              │
                                               └─ stride  4 ── lateral ─────────── smooth ─┘

The pyramid is that of Lin et al., "Feature Pyramid Networks for Object Detection" (CVPR 2017), the heads are the
semantic branch of Kirillov et al., "Panoptic Feature Pyramid Networks" (CVPR 2019). Tasks share the pyramid and do not
read each other.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trainer.model.architecture import Architecture
from trainer.model.base import Predictions, to_full_size
from trainer.model.blocks import upsample
from trainer.model.pyramid import PyramidNetwork

_GROUP = 16
"""Channels that group norm normalises together: Wu and He, "Group Normalization" (ECCV 2018), table 3."""


class FPN(PyramidNetwork):
    """Backbones, a feature pyramid, and a head for each task.

    Attributes:
        WIDTH: channels of the pyramid and of the heads, a multiple of 16. The papers have 256 and 128; a derived class
            may set another.
    """

    WIDTH = 64

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.pyramid = FeaturePyramid(self.widths, self.WIDTH)
        self.heads = nn.ModuleDict(
            {task.name: SemanticHead(self.WIDTH, len(self.widths), task.channels) for task in architecture.tasks}
        )

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        size = self.size(inputs)
        pyramid = self.pyramid(self.features(inputs))
        return self.predictions({task: to_full_size(head(pyramid), size) for task, head in self.heads.items()})

    def last_layers(self, task: str) -> Iterable[nn.Module]:
        return [self.heads[task].predict]  # type: ignore[list-item]


class FeaturePyramid(nn.Module):
    """The top-down pathway with lateral connections: Lin et al., section 3 and figure 3.

    Args:
        widths: the scales' channels, finest first.
        width: channels of the pyramid.
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([nn.Conv2d(channels, width, 1) for channels in widths])
        self.smooth = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in widths])

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Features ``(B, C_s, h_s, w_s)``, finest first, to ``(B, width, h_s, w_s)``, likewise."""
        merged: list[torch.Tensor] = []
        for lateral, feature in zip(reversed(self.lateral), reversed(features), strict=True):
            level = lateral(feature)
            if merged:
                level = level + F.interpolate(merged[-1], size=level.shape[-2:], mode="nearest")
            merged.append(level)
        return [smooth(level) for smooth, level in zip(self.smooth, reversed(merged), strict=True)]


class SemanticHead(nn.Module):
    """One task's prediction from the pyramid: Kirillov et al., section 3 and figure 3.

    Every level is upsampled to the finest by stages of a 3×3 convolution, group norm, ReLU and a doubling of the size;
    the finest has one stage without a doubling. A 1×1 convolution predicts from their sum.

    Args:
        width: channels of the pyramid.
        levels: the number of its levels.
        outputs: the task's channels.
    """

    def __init__(self, width: int, levels: int, outputs: int) -> None:
        super().__init__()
        counts = [max(1, level) for level in range(levels)]
        self.levels = nn.ModuleList([nn.ModuleList([_stage(width) for _ in range(count)]) for count in counts])
        self.predict = nn.Conv2d(width, outputs, 1)

    def forward(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
        """The pyramid ``(B, width, h_s, w_s)``, finest first, to ``(B, outputs, h_0, w_0)``."""
        total: torch.Tensor | None = None
        for level, (stages, x) in enumerate(zip(self.levels, pyramid, strict=True)):
            for number, stage in enumerate(stages.children(), 1):
                x = stage(x)
                if level:
                    x = upsample(x, pyramid[level - number].shape[-2:])
            total = x if total is None else total + x
        assert total is not None
        return self.predict(total)


def _stage(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(width // _GROUP, width), nn.ReLU(inplace=True)
    )
