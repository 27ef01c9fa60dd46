"""From shards to the tensors of a frame: reading and augmentation."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch

from shards.dataset import Sample, ShardDataset
from shards.errors import UserError
from shards.holes import fill_holes
from shards.order import mix
from shards.stream import Position
from shards.window import LazyWindow
from trainer.augment import Augmentation, to_tensors
from trainer.batch import Batch, Collate

_T = TypeVar("_T")
_AUGMENT = 0xA46  # keeps the augmentation's random stream apart from the order's


class FrameLoader:
    """Loads the samples of a data set as tensors: by index as they are, or augmented for a position of a run.

    Args:
        data: the samples, their size, and the tasks whose labels are read.
        indices: by shard of the split, the indices of the samples that positions number; None for all samples in
            stored order.
        augment: applied with a seed that follows from (seed, epoch, position); None changes nothing.
        seed: the seed of the run.
    """

    def __init__(
        self,
        data: ShardDataset,
        *,
        indices: Sequence[Sequence[int] | np.ndarray] | None = None,
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.data, self.indices, self.augment, self.seed = data, indices, augment, seed

    def __getitem__(self, index: int) -> tuple[str, dict[str, torch.Tensor]]:
        """Return a sample's key and tensors.

        Raises:
            UserError: with the sample's shard and key.
        """

        def load() -> tuple[str, dict[str, torch.Tensor]]:
            key, arrays = self.data.stored(index)
            return key, self.tensors(arrays)

        return self.locate_errors(index, load)

    def __call__(self, position: Position) -> tuple[str, dict[str, torch.Tensor]]:
        """Return the key and tensors of the sample at a position of a run.

        Raises:
            UserError: with the sample's shard and key.
        """
        indices = self.data.shard(position.shard) if self.indices is None else self.indices[position.shard]
        index = int(indices[position.number])
        augment = self.augment
        if augment is None:
            return self[index]
        seed = mix(self.seed, _AUGMENT, position.epoch, position.position)
        return self.locate_errors(index, lambda: self._augmented(index, augment, seed))

    def tensors(self, arrays: Sample) -> dict[str, torch.Tensor]:
        """Return the tensors of a sample's stored arrays at the size of the data set."""
        return to_tensors(self.data.resize(arrays), self.data.tasks)

    def locate_errors(self, index: int, load: Callable[[], _T]) -> _T:
        """Call a function, such that its errors name a sample's shard and key."""
        try:
            return load()
        except UserError as error:
            if error.file:
                raise
            file, key = self.data.file(index), self.data.key(index)
            raise UserError(error.what, file=file, key=key, hint=error.hint) from error

    def _augmented(self, index: int, augment: Augmentation, seed: int) -> tuple[str, dict[str, torch.Tensor]]:
        data = self.data
        if data.size is not None or not (augment.crop or data.manifest.tiled):
            key, arrays = data.stored(index)
            return key, augment(data.resize(arrays), seed, in_place=True)
        window = LazyWindow(lambda frame: augment.window(frame, seed))  # nothing else is decoded
        key, arrays = data.stored(index, window)
        return key, augment(fill_holes(arrays, data.tasks), seed, window.frame, in_place=True)


def load_batches(loader: FrameLoader, collate: Collate, indices: Iterable[int]) -> list[Batch]:
    """Load samples as one batch or, where they differ in size, as one batch per sample.

    Raises:
        UserError: for a sample that cannot be loaded.
    """
    samples = [loader[index] for index in indices]
    sizes = {tensors["rgb"].shape for _, tensors in samples}
    return [collate(group) for group in ([samples] if len(sizes) == 1 else [[sample] for sample in samples])]
