"""The network ``dpt``: a vision transformer, whose maps of tokens are fused from coarse to fine.

::

    inputs ── encoders ── tokens ── transformer ─┬─ quarter 4 ── reassemble, stride 32 ── fusion
    (by name)             (added)                │                                          ↓
                                                 ├─ quarter 3 ── reassemble, stride 16 ── fusion
                                                 │                                          ↓
                                                 ├─ quarter 2 ── reassemble, stride  8 ── fusion
                                                 │                                          ↓
                                                 └─ quarter 1 ── reassemble, stride  4 ── fusion ── heads ── final
                                                                                        (stride 2) (one per task)

Written from the description in Ranftl, Bochkovskiy and Koltun, "Vision Transformers for Dense Prediction" (ICCV 2021),
section 3 and figure 1. One patch embedding reads the channels of all inputs side by side. It is linear, so that this is
the sum of a patch embedding for each input: tokens are added. Tasks share everything but the heads. There is no batch
norm: a global batch gives the same gradient however it is split.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trainer.definition import STRIDES
from trainer.model import transformer
from trainer.model.architecture import RGB, Architecture
from trainer.model.base import Network, Predictions, to_full_size
from trainer.model.blocks import upsample


class DPT(Network):
    """A transformer, reassembly, fusion, and a head for each task.

    The decoder has as many channels as a token, :attr:`WIDTH` at most.

    Attributes:
        WIDTH: the paper's 256; a derived class may set another.
    """

    WIDTH = 256

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        ((branch, names),) = self.branches(architecture).items()
        backbone = transformer.create(architecture.backbone, self.channels(names), self._rgb_channels())
        self.backbones[branch] = backbone
        self.patch, tokens = transformer.patch(backbone), transformer.width(backbone)
        width = min(self.WIDTH, tokens)
        self.reassemble = nn.ModuleList([Reassemble(tokens, width, self.patch, stride) for stride in STRIDES])
        self.fusion = nn.ModuleList([Fusion(width, merges=stride != STRIDES[-1]) for stride in STRIDES])
        self.heads = nn.ModuleDict({task.name: Head(width, task.channels) for task in architecture.tasks})

    @classmethod
    def branches(cls, architecture: Architecture) -> Mapping[str, tuple[str, ...]]:
        return {"_".join(architecture.inputs): architecture.inputs}

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        x = self.encode(inputs, self.architecture.inputs)
        bottom, right = (-side % self.patch for side in x.shape[-2:])
        if bottom or right:
            x = F.pad(x, (0, right, 0, bottom), mode="replicate")
        (backbone,) = self.backbones.values()
        maps = [part(tokens) for part, tokens in zip(self.reassemble, backbone(x), strict=True)]
        fused: torch.Tensor | None = None
        for level in reversed(range(len(maps))):
            rows, columns = maps[level].shape[-2:]
            size = maps[level - 1].shape[-2:] if level else (2 * rows, 2 * columns)
            fused = self.fusion[level](maps[level], fused, size)
        size = self.size(inputs)
        final = {task: to_full_size(head(fused), size, self.patch) for task, head in self.heads.items()}
        return self.predictions(final)

    def last_layers(self, task: str) -> Iterable[nn.Module]:
        return [self.heads[task].predict]  # type: ignore[list-item]

    def _rgb_channels(self) -> slice | None:
        inputs = self.architecture.inputs
        if RGB not in inputs:
            return None
        first = self.channels(inputs[: inputs.index(RGB)])
        return slice(first, first + self.channels([RGB]))


class Reassemble(nn.Module):
    """Turns tokens into a map at a stride of the frame: section 3.1, eq. 5 and 6.

    A 1×1 convolution to the decoder's width, then a transposed convolution where the map must grow and a 3×3 one with a
    stride where it must shrink. The factor is the nearest power of two: with patches of 16 pixels the strides are 4,
    8, 16, 32, and with 14 they are 3.5, 7, 14, 28.

    Args:
        tokens: channels of a token.
        width: channels of the decoder.
        patch: the side of a patch, in pixels.
        stride: the stride that the map should have, in pixels.
    """

    def __init__(self, tokens: int, width: int, patch: int, stride: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(tokens, width, 1)
        power = round(math.log2(patch / stride))
        factor = 2 ** abs(power)
        self.resample: nn.Module = nn.Identity()
        if power > 0:
            self.resample = nn.ConvTranspose2d(width, width, factor, stride=factor)
        elif power < 0:
            self.resample = nn.Conv2d(width, width, 3, stride=factor, padding=1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """``(B, tokens, h, w)`` to ``(B, width, h', w')``."""
        return self.resample(self.project(tokens))


class ResidualUnit(nn.Module):
    """The residual convolutional unit of RefineNet, Lin et al. (CVPR 2017), section 3.2: ReLU and a 3×3 convolution,
    twice, without batch norm. ``(B, width, h, w)`` to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fusion(nn.Module):
    """Merges a level's map with that of the coarser levels, for the next finer level: section 3.1 and figure 1.

    Args:
        width: channels of the decoder.
        merges: whether there is a coarser level.
    """

    def __init__(self, width: int, merges: bool) -> None:
        super().__init__()
        self.merge = ResidualUnit(width) if merges else None
        self.refine = ResidualUnit(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, level: torch.Tensor, coarser: torch.Tensor | None, size: Sequence[int]) -> torch.Tensor:
        """Two maps ``(B, width, h, w)`` to one ``(B, width, *size)``."""
        x = level if self.merge is None else coarser + self.merge(level)
        # A 1×1 convolution gives the same result before a bilinear upsampling as after it, at a quarter of the cost.
        return upsample(self.project(self.refine(x)), (size[0], size[1]))


class Head(nn.Module):
    """One task's prediction at half of the frame's resolution: section 3.1 ("a task-specific output head").

    A 3×3 convolution to half of the channels, ReLU, and a 1×1 convolution, the same for tasks of all kinds.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width // 2, 3, padding=1)
        self.predict = nn.Conv2d(width // 2, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, width, h, w)`` to ``(B, outputs, h, w)``."""
        return self.predict(F.relu(self.mix(x)))
