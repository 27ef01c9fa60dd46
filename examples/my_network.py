"""A custom network: SegFormer's decoder on any backbone, by ``model.name: my_network:MLPDecoder``.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers" (NeurIPS 2021), section
3.2: each scale is projected to one width, all are upsampled to the finest and joined, and two linear layers for each
task predict from them.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from trainer.model.architecture import Architecture
from trainer.model.base import Predictions, to_full_size
from trainer.model.blocks import upsample
from trainer.model.pyramid import PyramidNetwork


class MLPDecoder(PyramidNetwork):
    """The base class provides backbones, their pretrained weights, and several inputs."""

    WIDTH = 64

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.projections = nn.ModuleList([nn.Conv2d(width, self.WIDTH, 1) for width in self.widths])
        self.heads = nn.ModuleDict({task.name: self._head(task.channels) for task in architecture.tasks})

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        features = self.features(inputs)  # strides 4, 8, 16, 32
        projected = [projection(x) for projection, x in zip(self.projections, features, strict=True)]
        joined = torch.cat([upsample(x, projected[0].shape[-2:]) for x in projected], 1)
        size = self.size(inputs)
        return self.predictions({task: to_full_size(head(joined), size) for task, head in self.heads.items()})

    def last_layers(self, task: str) -> Iterable[nn.Module]:
        return [self.heads[task][-1]]  # whose bias starts at the mean of a quantity

    def _head(self, outputs: int) -> nn.Sequential:
        mix = nn.Conv2d(self.WIDTH * len(self.projections), self.WIDTH, 1, bias=False)
        return nn.Sequential(mix, nn.BatchNorm2d(self.WIDTH), nn.ReLU(), nn.Conv2d(self.WIDTH, outputs, 1))
