"""Networks that read the features of convolutional backbones at four scales: a backbone for each input."""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch

from trainer.definition import STRIDES
from trainer.model.architecture import Architecture
from trainer.model.backbone import create, widths
from trainer.model.base import Network

SCALES = tuple(f"stride{stride}" for stride in STRIDES)


class PyramidNetwork(Network):
    """A network over the features of timm backbones, one for each of the architecture's branches, fused by addition.

    A derived class only adds a decoder: ``model.backbone``, ``model.pretrained``, ``model.pretrained_inputs``,
    ``model.fusion`` and several inputs are supported already.

    Attributes:
        widths: channels of the four scales, finest first.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        for branch, names in self.branches(architecture).items():
            self.backbones[branch] = create(architecture.backbone, self.channels(names))
        self.widths = widths(next(iter(self.backbones.values())))

    def features(self, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return the fused features ``(B, C_s, H'/s, W'/s)`` at the strides s = 4, 8, 16, 32 of the padded inputs."""
        return fuse(
            [
                self.backbones[branch](self.encode(inputs, names))
                for branch, names in self.branches(self.architecture).items()
            ]
        )


def fuse(pyramids: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    """Add the modalities' features at every scale (FFM); a single modality passes unchanged.

    Args:
        pyramids: for each modality, its backbone's features ``(B, C_s, h_s, w_s)``, one for each scale s.
    """
    return [reduce(torch.add, scale) for scale in zip(*pyramids, strict=True)]
