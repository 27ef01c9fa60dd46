"""From what a loader gives to what a backbone reads: one encoder for each kind of input. None has parameters.

Every encoder pads at the right and the bottom to a multiple of the coarsest stride, with "no label" where the
input is a label, and gives a float tensor ``(B, channels, H', W')``. A label's last channel says
where the label exists (for classes: where it does not); early fusion leaves that channel out.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shards.tasks import IGNORE
from trainer.model.architecture import RGB, Architecture
from trainer.model.backbone import STRIDES


class Encoder(nn.Module):
    """Makes a float tensor ``(B, channels, H', W')`` of a batch of one modality."""

    channels: int


class RGBEncoder(Encoder):
    """RGB in [0, 1], ``(B, 3, H, W)``, normalised by a mean and standard deviation of each channel."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.channels = 3
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return (_pad(rgb, mode="replicate") - self.mean) / self.std


class MetricEncoder(Encoder):
    """A quantity ``(B, 1, H, W)`` in its unit, 0 = no measurement: ``(x − mean) / std``, 0 where unmeasured."""

    def __init__(self, mean: float, std: float, validity: bool) -> None:
        super().__init__()
        self.mean, self.std, self.validity = mean, std, validity
        self.channels = 1 + validity

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = _pad(values)
        measured = values > 0
        normalised = torch.where(measured, (values - self.mean) / self.std, 0.0)
        return torch.cat([normalised, measured.to(values.dtype)], 1) if self.validity else normalised


class ClassesEncoder(Encoder):
    """Class indices ``(B, H, W)``, 255 = no label: one-hot, "no label" being a class of its own, the last."""

    codes: torch.Tensor

    def __init__(self, classes: int, validity: bool) -> None:
        super().__init__()
        codes = [*range(classes), IGNORE] if validity else [*range(classes)]
        self.channels = len(codes)
        self.register_buffer("codes", torch.tensor(codes), persistent=False)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        one_hot = torch.eq(_pad(labels, value=IGNORE).unsqueeze(-1), self.codes)
        return one_hot.permute(0, 3, 1, 2).float()


class UnitVectorEncoder(Encoder):
    """Unit vectors ``(B, 3, H, W)``, the zero vector = no label, as they are."""

    def __init__(self, validity: bool) -> None:
        super().__init__()
        self.validity = validity
        self.channels = 3 + validity

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        vectors = _pad(vectors)
        if not self.validity:
            return vectors
        return torch.cat([vectors, (vectors != 0).any(1, keepdim=True).to(vectors.dtype)], 1)


def encoder(name: str, architecture: Architecture) -> Encoder:
    """The encoder of one of the architecture's inputs."""
    if name == RGB:
        return RGBEncoder(architecture.rgb_mean, architecture.rgb_std)
    task, validity = architecture.labels[name], architecture.fusion != "early"
    if task.kind == "classes":
        return ClassesEncoder(len(task.classes), validity)
    if task.kind == "metric":
        return MetricEncoder(*architecture.statistics[name], validity)
    return UnitVectorEncoder(validity)


def _pad(x: torch.Tensor, mode: str = "constant", value: float | None = None) -> torch.Tensor:
    bottom, right = (-side % STRIDES[-1] for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, bottom), mode, value) if bottom or right else x
