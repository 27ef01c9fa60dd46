"""A custom kind of label: an undirected angle for each pixel, such as the orientation of a grasp.

Tutelage finds it by two entry points of the package that contains it, which have the kind's name::

    [project.entry-points."tutelage.storage"]
    angle = "angle_kind:AngleStorage"
    [project.entry-points."tutelage.learning"]
    angle = "angle_kind:AngleLearning"

Then ``dataset.yaml`` may say ``tasks: {grasp: {kind: angle}}``, and all commands work on such labels.
"""

import colorsys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from shards.images import read_values
from shards.kinds.base import MISSING, Storage
from trainer.fixedpoint import fixed_point_mean, fixed_point_sum
from trainer.kindmetrics import Metric
from trainer.kinds.base import Learning
from trainer.model.encoders import Encoder, pad


class AngleStorage(Storage):
    """In memory uint8 ``(H, W)``, degrees from 1 to 180; 0 for no label. The same in shards and in a user's files."""

    kind = "angle"
    mode = "L"
    channels = 2
    difference = "differ by more than 15°"

    def empty(self, height: int, width: int) -> np.ndarray:
        return np.zeros((height, width), np.uint8)

    def labelled(self, label: np.ndarray) -> np.ndarray:
        return label != 0

    def to_stored(self, label: np.ndarray) -> np.ndarray:
        return label

    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        return stored

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        return read_values(path).astype(np.uint8)

    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        wheel = np.array([MISSING, *(np.multiply(colorsys.hsv_to_rgb(d / 180, 1, 1), 255) for d in range(1, 256))])
        return wheel.astype(np.uint8)[label]

    def glance(self, label: np.ndarray) -> str:
        return f"orientations, the median {np.median(label[label != 0]):.0f}°" if label.any() else "no label"

    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        return f"{_difference(label, truth)[truth != 0].mean():.0f}° off" if truth.any() else ""

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return _difference(one, other) > 15


class AngleEncoder(Encoder):
    """The doubled angle as a unit vector, and a channel that marks where there is a label."""

    channels = 3

    def forward(self, labels: Tensor) -> Tensor:
        labels = pad(labels)
        labelled = (labels != 0).float()
        return torch.stack([*(part * labelled for part in _double_angle(labels)), labelled], 1)


class AngleLearning(Learning):
    """Tensors are uint8 ``(H, W)`` as at rest; outputs are vectors at twice the angle, of any length."""

    kind = "angle"
    metrics = (Metric("angle", "angle °", "°", 1, 1, smaller_is_better=True, shown=True),)
    sums = 3

    def labelled(self, target: Tensor) -> Tensor:
        return target != 0

    def augmented(self, tensor: Tensor, zoom: float, mirrored: bool) -> Tensor:
        return torch.where((tensor != 0) & (tensor != 180), 180 - tensor, tensor) if mirrored else tensor

    def mirrored(self, x: Tensor) -> Tensor:
        return x.flip(-1) * x.new_tensor([1, -1])[:, None, None]

    def encoder(self, statistics: tuple[float, float] | None, validity: bool) -> Encoder:
        return AngleEncoder()

    def loss(self, prediction: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
        """One minus the cosine of twice the angle between prediction and target."""
        cosine = F.cosine_similarity(prediction, torch.stack(_double_angle(target), 1), dim=1, eps=1e-4)
        return torch.where(target != 0, 1 - cosine, 0)

    def decide(self, output: Tensor) -> Tensor:
        degrees = torch.atan2(output[:, 1].float(), output[:, 0].float()).rad2deg() / 2
        return ((degrees.round() - 1) % 180 + 1).to(torch.uint8)

    def mean_of_two(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        a, b = F.normalize(one, dim=1), F.normalize(other, dim=1)
        return a + b, (1 + (a * b).sum(1)) / 2

    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        where = target != 0
        error = torch.from_numpy(_difference(decision.cpu().numpy(), target.cpu().numpy())).to(target.device)
        return torch.cat([where.sum()[None], fixed_point_sum(error, where)])

    def report(self, sums: list[int]) -> dict[str, Any]:
        return {"angle": fixed_point_mean(sums[1:], sums[0]) if sums[0] else None, "pixels": sums[0]}


def _double_angle(degrees: Tensor) -> tuple[Tensor, Tensor]:
    radians = (2 * degrees.float()).deg2rad()
    return radians.cos(), radians.sin()


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the difference of two undirected angles, 0 to 90 degrees."""
    difference = np.abs(a.astype(np.float64) - b) % 180
    return np.minimum(difference, 180 - difference)
