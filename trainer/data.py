"""From shards to the tensors of a frame: reading and augmentation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from shards.errors import UserError
from shards.frames import Frames
from shards.holes import fill_holes
from shards.order import mix
from shards.resize import resize_frame
from shards.stream import Position
from shards.window import LazyWindow
from trainer.augment import Augment, to_tensors
from trainer.batch import Batch, Collate

_T = TypeVar("_T")
_AUGMENT = 0xA46  # keeps the augmentation's random stream apart from the order's


class FrameLoader:
    """Reads a frame with its visible labels, as tensors.

    Args:
        frames: the split and its visible labels.
        positions: the positions within each shard that are numbered (:meth:`Frames.by_shard`).
        inputs: names of the network's inputs.
        tasks: names of the predicted tasks.
        size: (height, width) that frames are resized to; None keeps their own.
        augment: applied with a seed that follows from (seed, epoch, position); None for evaluation.
        seed: the seed of the run.
    """

    def __init__(
        self,
        frames: Frames,
        positions: Sequence[np.ndarray],
        inputs: Sequence[str],
        tasks: Sequence[str],
        *,
        size: tuple[int, int] | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.frames, self.positions, self.size, self.augment, self.seed = frames, positions, size, augment, seed
        names = dict.fromkeys([*inputs, *tasks])
        self.tasks = [frames.manifest.task(name) for name in names if name != "rgb"]

    def __call__(self, place: Position) -> tuple[str, dict[str, torch.Tensor]]:
        """Return a frame's key and tensors.

        Raises:
            UserError: with the frame's shard and key.
        """
        return self.locate_errors(self.load, place)

    def locate_errors(self, load: Callable[[Position], _T], place: Position) -> _T:
        """Call a function of a position, such that its errors name the frame's shard and key."""
        try:
            return load(place)
        except UserError as error:
            if error.file:
                raise
            reader = self.frames.readers[place.shard]
            key = reader.key(int(self.positions[place.shard][place.number]))
            raise UserError(error.what, file=reader.path, key=key, hint=error.hint) from error

    def load(self, place: Position) -> tuple[str, dict[str, torch.Tensor]]:
        if self.augment is None or self.size is not None or not self.frames.manifest.tiled:
            key, arrays = self.read(place)
            return key, self.tensors(arrays, place)
        augment, seed = self.augment, self._augment_seed(place)
        window = LazyWindow(lambda frame: augment.window(frame, seed))
        key, arrays = self.read(place, window)
        return key, augment(fill_holes(arrays, self.tasks), seed, window.frame, in_place=True)

    def read(self, place: Position, window: LazyWindow | None = None) -> tuple[str, dict[str, np.ndarray]]:
        """Return a frame's key and its arrays at their stored size, or a window of them (:meth:`Frames.read`)."""
        position = int(self.positions[place.shard][place.number])
        return self.frames.read(place.shard, position, [task.name for task in self.tasks], window)

    def tensors(self, arrays: Mapping[str, np.ndarray], place: Position) -> dict[str, torch.Tensor]:
        """Return the tensors of a frame's arrays, as the network is given them."""
        size = self.size or arrays["rgb"].shape[:2]  # a pseudo-label may have another size
        arrays = fill_holes(resize_frame(arrays, size), self.tasks)
        if self.augment is None:
            return to_tensors(arrays, self.tasks)
        return self.augment(arrays, self._augment_seed(place), in_place=True)

    def _augment_seed(self, place: Position) -> int:
        return mix(self.seed, _AUGMENT, place.epoch, place.position)


def load_batches(loader: FrameLoader, collate: Collate, places: Iterable[Position]) -> list[Batch]:
    """Load frames as one batch or, where they differ in size, as one batch per frame.

    Raises:
        UserError: for a frame that cannot be loaded.
    """
    samples = [loader(place) for place in places]
    sizes = {tensors["rgb"].shape for _, tensors in samples}
    return [collate(group) for group in ([samples] if len(sizes) == 1 else [[sample] for sample in samples])]
