"""The initial prediction of one task at one scale (MTI-Net, section 3.2), which makes the task features."""

import torch
from torch import nn

from trainer.model.blocks import BasicBlock


class InitialPrediction(nn.Module):
    """Two residual blocks, whose features all later modules refine, and a 1×1 convolution that predicts from them.

    The prediction serves deep supervision only, through which the features become those *of the task*. So it is only
    computed in training.

    Args:
        inputs: channels of the backbone's scale, plus those of the task's feature from the coarser scale.
        channels: the scale's width C.
        outputs: the task's channels.
    """

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(BasicBlock(inputs, channels), BasicBlock(channels, channels))
        self.predict = nn.Conv2d(channels, outputs, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the task's features and the prediction from them, for ``(B, inputs, h, w)``.

        Returns:
            The features ``(B, channels, h, w)``, and in training the prediction ``(B, outputs, h, w)``.
        """
        features = self.blocks(x)
        return features, self.predict(features) if self.training else None
