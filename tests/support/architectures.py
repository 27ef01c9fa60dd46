"""Small networks, and a batch for them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shards.tasks import IGNORE, Task, palette
from trainer.model.network import Architecture, Predictions, build


def classes(count: int, name: str = "semseg") -> Task:
    return Task(name, "classes", tuple(f"class{i}" for i in range(count)), palette(count))


SEMSEG = classes(5)
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")
STATISTICS = {"depth": (2.5, 1.5)}


MANY_INPUTS = Architecture(
    "hrnet_w18_small",
    ("rgb", "depth", "semseg", "normals"),
    (DEPTH,),
    (SEMSEG, DEPTH, NORMALS),
    statistics=STATISTICS,
)


def student(*tasks: Task, backbone: str = "hrnet_w18_small", **options: Any) -> Architecture:
    return Architecture(backbone, ("rgb",), tasks or (SEMSEG, DEPTH), **options)


def teacher(*tasks: Task, backbone: str = "hrnet_w18_small", fusion="add", **options: Any) -> Architecture:
    return Architecture(backbone, ("rgb", "depth"), tasks or (SEMSEG, DEPTH), (DEPTH,), fusion, STATISTICS, **options)


def batch(height: int = 64, width: int = 64, size: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    depth = torch.rand(size, 1, height, width, generator=generator) * 5
    depth[:, :, : height // 4] = 0
    semseg = torch.randint(0, 5, (size, height, width), generator=generator).to(torch.uint8)
    semseg[:, height // 2 :] = IGNORE
    normals = F.normalize(torch.randn(size, 3, height, width, generator=generator), dim=1)
    normals[..., : width // 4] = 0
    rgb = torch.rand(size, 3, height, width, generator=generator)
    return {"rgb": rgb, "depth": depth, "semseg": semseg, "normals": normals}


def seeded(architecture: Architecture) -> Any:
    torch.manual_seed(0)
    return build(architecture)


def loss(predictions: Predictions) -> torch.Tensor:
    """Return a loss that depends differently on each value (a plain sum is constant after a norm)."""
    tensors = [x for scale in [predictions.final, *predictions.initial] for x in scale.values()]
    return torch.stack([(x.float() * torch.linspace(-1, 2, x.numel()).view(x.shape)).mean() for x in tensors]).sum()


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6
