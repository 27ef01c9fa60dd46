"""Batches to measure a network on: its inputs, and the truth at the resolution of the measurement."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from trainer.augment import to_tensors
from trainer.batch import Batch, Collate
from trainer.data import FrameLoader, load_batches

MeasuredBatch = tuple[Batch, dict[str, Tensor]]
"""A batch of network inputs, and the truth by task."""


def make_loader(
    loader: FrameLoader, collate: Collate, resolution: str
) -> Callable[[Iterable[int]], list[MeasuredBatch]]:
    """Return a function that loads samples to be measured: as one batch, or one by one where they differ in size.

    Raises:
        UserError: when the function is called, for a sample that cannot be loaded.
    """

    def at_network(indices: Iterable[int]) -> list[MeasuredBatch]:
        return [(batch, batch.labels) for batch in load_batches(loader, collate, indices)]

    def load_both(index: int) -> tuple[Any, Any]:
        key, arrays = loader.data.stored(index)
        return (key, loader.tensors(arrays)), (key, to_tensors(arrays, loader.data.tasks))

    def at_label(indices: Iterable[int]) -> list[MeasuredBatch]:
        frames = [loader.locate_errors(index, partial(load_both, index)) for index in indices]
        sizes = {tuple(tensors["rgb"].shape for _, tensors in frame) for frame in frames}
        groups: Sequence[Sequence[tuple[Any, Any]]] = [frames] if len(sizes) == 1 else [[frame] for frame in frames]
        batches = []
        for group in groups:
            resized, stored = (collate(list(samples)) for samples in zip(*group, strict=True))
            batches.append((resized, stored.labels))
        return batches

    return {"network": at_network, "label": at_label}[resolution]
