"""From what a loader gives to what a backbone reads: one encoder for each kind of input. None has parameters.

Every encoder pads at the right and the bottom to a multiple of the coarsest stride, with "no label" where the
input is a label, and gives a float tensor ``(B, channels, H', W')``. A label's last channel says
where the label exists (for classes: where it does not); early fusion leaves that channel out.
"""

import torch
import torch.nn.functional as F
from torch import nn

from shards.tasks import IGNORE, Task

MULTIPLE = 32
"""Height and width that a backbone takes are multiples of its coarsest stride."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RGBEncoder(nn.Module):
    """RGB in [0, 1], ``(B, 3, H, W)``, normalised by ImageNet's mean and standard deviation."""

    channels = 3

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return (_pad(rgb, mode="replicate") - self.mean) / self.std


class MetricEncoder(nn.Module):
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


class ClassesEncoder(nn.Module):
    """Class indices ``(B, H, W)``, 255 = no label: one-hot, "no label" being a class of its own, the last."""

    def __init__(self, classes: int, validity: bool) -> None:
        super().__init__()
        codes = [*range(classes), IGNORE] if validity else [*range(classes)]
        self.channels = len(codes)
        self.register_buffer("codes", torch.tensor(codes), persistent=False)

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        one_hot = _pad(labels, value=IGNORE).unsqueeze(-1) == self.codes
        return one_hot.permute(0, 3, 1, 2).float()


class UnitVectorEncoder(nn.Module):
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


def label_encoder(task: Task, statistics: tuple[float, float] | None, validity: bool) -> nn.Module:
    """The encoder of a task's label as an input.

    Args:
        task: what the label is.
        statistics: mean and standard deviation over measured pixels (kind ``metric`` only).
        validity: whether there is a last channel that tells labelled pixels from others.
    """
    if task.kind == "classes":
        return ClassesEncoder(len(task.classes), validity)
    if task.kind == "unit_vector":
        return UnitVectorEncoder(validity)
    assert statistics is not None  # Architecture sees to it
    return MetricEncoder(*statistics, validity)


def _pad(x: torch.Tensor, mode: str = "constant", value: float | None = None) -> torch.Tensor:
    bottom, right = (-side % MULTIPLE for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, bottom), mode, value) if bottom or right else x
