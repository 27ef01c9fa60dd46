"""The size of a network: parameters and multiply-adds, counted without computing anything."""

from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.definition import STRIDES
from trainer.kinds import learning
from trainer.model.architecture import RGB, Architecture
from trainer.model.checked import predictions_of
from trainer.model.meta import on_meta
from trainer.model.network import network_of

_cache: dict[tuple[str, int, int], "Size"] = {}


@dataclass(frozen=True)
class Size:
    """The cost of a network.

    Attributes:
        backbone, decoder: parameters of all backbones, and of all other modules.
        multiply_adds: of the backbones and of the decoder, for one frame in evaluation, by convolutions and matrix
            products.
        frame: height and width of that frame.
    """

    backbone: int
    decoder: int
    multiply_adds: tuple[int, int]
    frame: tuple[int, int]

    def __str__(self) -> str:
        backbone, decoder = (number / 1e9 for number in self.multiply_adds)
        height, width = self.frame
        return (
            f"{self.backbone / 1e6:.2f} M parameters in the backbone and {self.decoder / 1e6:.2f} M in the decoder, "
            f"{backbone:.2f} G and {decoder:.2f} G multiply-adds for a frame of {height}x{width}"
        )


def size_of(architecture: Architecture, frame: tuple[int, int]) -> Size:
    """Return the size of a network for frames of this height and width; it is built on torch's ``meta`` device.

    The frame is padded to a multiple of the coarsest stride, as the network pads it.
    """
    height, width = (side + -side % STRIDES[-1] for side in frame)
    key = (str(architecture.to_json()), height, width)
    if key in _cache:
        return replace(_cache[key], frame=frame)
    with on_meta():
        network = network_of(architecture).eval()
        inputs = {task.name: learning(task).blank(height, width)[None].to("meta") for task in architecture.input_tasks}
        inputs[RGB] = torch.empty(1, 3, height, width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        predictions_of(network, inputs, architecture.tasks)
    total = counter.get_total_flops() // 2
    flops = sum(sum(counts.values()) for name, counts in counter.get_flop_counts().items() if _is_backbone(name))
    parameters = sum(p.numel() for p in network.parameters())
    backbone = sum(p.numel() for p in network.backbones.parameters())
    _cache[key] = Size(backbone, parameters - backbone, (flops // 2, total - flops // 2), frame)
    return _cache[key]


def describe_size(architecture: Architecture, frame: tuple[int, int]) -> str | None:
    """Return the size of a network in words; None where a user's own network cannot compute on ``meta``."""
    try:
        return str(size_of(architecture, frame))
    except Exception:
        if ":" not in architecture.name:
            raise
        return None


def _is_backbone(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 3 and parts[1] == "backbones"  # the first part is the network's class
