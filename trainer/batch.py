"""A micro-batch, and the collation of frames into one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shards.errors import UserError
from shards.store import Place
from shards.tasks import Task
from trainer.augment import no_plane
from trainer.kinds import learning


@dataclass
class Batch:
    """A micro-batch of B frames.

    Args:
        rgb: uint8 ``(B, 3, H, W)``, ``channels_last`` in memory.
        labels: by task, in the form that :mod:`trainer.losses` takes; frames without a label hold "no label".
        keys: of the frames, in position order.
    """

    rgb: torch.Tensor
    labels: dict[str, torch.Tensor]
    keys: list[str]

    def to(self, device: torch.device) -> "Batch":
        labels = {name: label.to(device, non_blocking=True) for name, label in self.labels.items()}
        return Batch(self.rgb.to(device, non_blocking=True), labels, self.keys)

    def pin_memory(self) -> "Batch":
        labels = {name: label.pin_memory() for name, label in self.labels.items()}
        return Batch(self.rgb.pin_memory(), labels, self.keys)

    def inputs(self, names: Sequence[str], memory_format: torch.memory_format) -> dict[str, torch.Tensor]:
        """Return the network's inputs: RGB as floats in 0..1, labels unchanged."""
        tensors = {name: self.labels[name] for name in names if name != "rgb"}
        if "rgb" in names:
            tensors["rgb"] = self.rgb.to(torch.float32, memory_format=memory_format).div_(255)
        return {name: tensors[name] for name in names}


class Collate:
    """Collates frames into a :class:`Batch`, with "no label" where a frame lacks one.

    Args:
        labels: every task that may appear, as an input or a target.
        file_of: returns the shard that holds a key, for error messages.
        planes: number of channels of each array beside pseudo-labels; frames without them have full weight and no soft
            label.
    """

    def __init__(
        self,
        labels: Sequence[Task],
        file_of: Callable[[str], Place] | None = None,
        planes: Mapping[str, int] | None = None,
    ) -> None:
        self.labels, self.file_of, self.planes = labels, file_of, dict(planes or {})

    def __call__(self, samples: list[Any]) -> Batch:
        keys = [key for key, _ in samples]
        sizes = [tuple(tensors["rgb"].shape[-2:]) for _, tensors in samples]
        size = sizes[0]
        if len(set(sizes)) > 1:
            key = next(key for key, other_size in zip(keys, sizes, strict=True) if other_size != size)
            message = "frames differ in size: " + ", ".join(f"{h}x{w}" for h, w in sorted(set(sizes)))
            hint = "set size=HEIGHTxWIDTH or crop=HEIGHTxWIDTH"
            raise UserError(message, file=self.file_of(key) if self.file_of else None, key=key, hint=hint)
        rgb = torch.stack([tensors["rgb"].permute(1, 2, 0) for _, tensors in samples]).permute(0, 3, 1, 2)
        labels = {}
        for task in self.labels:
            blank = learning(task).blank(*size)
            labels[task.name] = torch.stack([tensors.get(task.name, blank) for _, tensors in samples])
        for name, channels in self.planes.items():
            blank = no_plane(name, channels, *size)
            labels[name] = torch.stack([tensors.get(name, blank) for _, tensors in samples])
        return Batch(rgb, labels, keys)
