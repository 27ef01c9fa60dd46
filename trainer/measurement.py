"""How an evaluation measures: at which size, and of scalar tasks within which range of values and which window.

Everything of it is part of what a ``result.json`` answers, and of a table's rows: what was measured in another way is
another row.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from shards.stream import Position
from shards.tasks import Task
from trainer.augment import to_tensors
from trainer.data import Batch, Collate, FrameLoader, load_batches
from trainer.decision import decide_at

_WINDOWS = {"eigen": ((45, 471, 480), (41, 601, 640))}
"""By name, first and last + 1 of the rows and of the columns, each with how many the frame has that they are of."""


@dataclass(frozen=True)
class Measurement:
    """How predictions are compared with labels.

    Args:
        resolution: ``network``, where labels are resized to what the network sees, or ``label``, where predictions
            are resized to the size that labels are stored in.
        ranges: least and greatest truth that is measured, by scalar task, in its unit.
        crop: None, or ``eigen`` for the window of Eigen et al., "Depth Map Prediction from a Single Image using a
            Multi-Scale Deep Network" (2014), as it is used for NYUDv2: ``[45:471, 41:601]`` of 480×640, and the pixels
            whose centres lie in it at any other size. It holds for scalar tasks; others are measured on whole frames.
    """

    resolution: str = "network"
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    crop: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``result.json`` says it; that of a run from before there were these options is :data:`DEFAULT`'s."""
        ranges = {name: list(limits) for name, limits in self.ranges.items()}
        return {"resolution": self.resolution, "range": ranges, "crop": self.crop}

    def __call__(self, task: Task, output: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """What metrics compare: a network's labels at the truth's size, and the truth, both as :meth:`restrict` does.

        Args:
            output: ``(B, task.channels, h, w)``.
            truth: in the form of :mod:`trainer.losses`, ``(B, ..., H, W)``.
        """
        height, width = truth.shape[-2:]
        return self.restrict(task, decide_at(task, output, (height, width)), truth)

    def restrict(self, task: Task, label: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """A scalar task's labels clamped into its range (the protocol of Eigen et al.), and its truth with "no label"
        outside range and window; other tasks' as they are.

        Args:
            label: ``(..., H, W)``, of any origin.
            truth: ``(..., H, W)``.
        """
        if not task.storage.quantity:
            return label, truth
        if self.crop:
            sides = zip(truth.shape[-2:], _WINDOWS[self.crop], strict=True)
            rows, columns = (_within(side, *of) for side, of in sides)
            window = torch.zeros_like(truth)
            window[..., rows, columns] = 1
            truth = truth * window
        if task.name in self.ranges:
            least, most = self.ranges[task.name]
            label, truth = label.clamp(least, most), truth.where((truth >= least) & (truth <= most), 0)
        return label, truth


DEFAULT = Measurement()
"""How all was measured before there was a choice."""


def _within(side: int, first: int, last: int, of: int) -> slice:
    """The pixels of a side whose centres lie between ``first`` and ``last`` of a side of ``of``, in integers."""

    def pixels_before(place: int) -> int:  # those with (pixel + 1/2) / side < place / of
        return -((of - 2 * place * side) // (2 * of))

    return slice(pixels_before(first), pixels_before(last))


MeasuredBatch = tuple[Batch, dict[str, Tensor]]
"""A batch as the network sees it, and the truth by task."""


def loading(
    loader: FrameLoader, collate: Collate, resolution: str
) -> Callable[[Iterable[Position]], list[MeasuredBatch]]:
    """A function that loads frames to be measured: together, or one at a time where they differ in size.

    Raises:
        UserError: a frame's.
    """

    def at_network(places: Iterable[Position]) -> list[MeasuredBatch]:
        return [(batch, batch.labels) for batch in load_batches(loader, collate, places)]

    def both(place: Position) -> tuple[Any, Any]:
        key, arrays = loader.read(place)
        return (key, loader.tensors(arrays, place)), (key, to_tensors(arrays, loader.tasks))

    def at_label(places: Iterable[Position]) -> list[MeasuredBatch]:
        frames = [loader.located(both, place) for place in places]
        sizes = {tuple(tensors["rgb"].shape for _, tensors in frame) for frame in frames}
        groups: Sequence[Sequence[tuple[Any, Any]]] = [frames] if len(sizes) == 1 else [[frame] for frame in frames]
        found = []
        for group in groups:
            seen, stored = (collate(list(samples)) for samples in zip(*group, strict=True))
            found.append((seen, stored.labels))
        return found

    return {"network": at_network, "label": at_label}[resolution]
