"""A prepared data set as a map-style data set: samples by number, and batches in the exact order of training."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np
import torch
from torch.utils.data import Dataset

from shards.cache import Cache
from shards.errors import UserError
from shards.frames import Frames
from shards.holes import filled
from shards.keep import Filter, Keep
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.order import Order
from shards.prefetch import followed, sources_of
from shards.resize import resize_frame
from shards.statistics import mean_and_deviation
from shards.store import Place
from shards.stream import Batches, OrderedSource, Position
from shards.tasks import Task

Sample = dict[str, np.ndarray]
"""``rgb`` uint8 ``(H, W, 3)`` and each label that there is, by its task's name, in the forms of :mod:`shards.tasks`."""


@dataclass(frozen=True)
class PseudoLabels:
    """A teacher's labels of one task, which stand in where a sample has none of its own.

    Args:
        folder: the path or URL of the label shards, such as ``runs/.../labels/train``.
        keep: pixels whose confidence is not above it get no label; None or ``"all"`` keeps all, ``"50%"`` of each class
            the most confident half; or a :data:`shards.keep.Filter` of your own. Or a :class:`shards.keep.Keep`, which
            says more.
        holes: whether they also fill pixels that a sample's own label leaves open (:mod:`shards.holes`).
    """

    folder: str | Place
    keep: float | str | Filter | Keep | None = None
    holes: bool = False


class ShardDataset(Dataset[Sample]):
    """Samples of a split by number, each read and checked when it is asked for.

    May be pickled, and used in forked and spawned worker processes. ::

        train = ShardDataset("data/scenes", "train")
        train[17]["depth"]

    Args:
        data: the path or URL of the folder that ``tutelage prepare`` wrote, or its manifest.
        split: ``train``, ``val``, ...
        tasks: names of the tasks whose labels are wanted; None for all.
        pseudo: pseudo-labels by the name of the task that they are of.
        size: height and width that samples are resized to; None keeps theirs.
        labels: budgets: how many samples may show each task's label (:mod:`shards.frames`); a task that is not named
            shows all.
        seed: what the choice of those samples follows from.
        cache: what shards in a store are read through; None for :class:`shards.cache.Cache` as it is by default.

    Attributes:
        manifest: what the data set holds.
        tasks: those whose labels are read.
        frames: which label of which sample may be seen.

    Raises:
        UserError: when the data set, a task or a split is missing, a budget is larger than the data, or pseudo-labels
            belong to other data.
    """

    def __init__(
        self,
        data: str | Place | Manifest,
        split: str = "train",
        *,
        tasks: Sequence[str] | None = None,
        pseudo: Mapping[str, PseudoLabels] | None = None,
        size: tuple[int, int] | None = None,
        labels: Mapping[str, int | None] | None = None,
        seed: int = 0,
        cache: Cache | None = None,
    ) -> None:
        self.manifest = data if isinstance(data, Manifest) else Manifest.load(data, cache=cache)
        self.split, self.size = split, size
        names = [task.name for task in self.manifest.tasks] if tasks is None else list(tasks)
        self.tasks: tuple[Task, ...] = tuple(self.manifest.task(name) for name in names)
        self.frames = Frames(self.manifest, split, seed=seed, budgets=labels)
        for name, of in (pseudo or {}).items():
            if name not in names:
                raise UserError(f"{name} is none of the tasks {', '.join(names)}", key=f"pseudo[{name!r}]")
            self.frames.add_pseudo(
                LabelShards(of.folder, self.manifest, split, self.manifest.task(name), of.keep), of.holes
            )

    @property
    def statistics(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation over the split of every task that is a quantity, in its unit."""
        of = self.manifest.statistics[self.split]
        return {task.name: mean_and_deviation(of[task.name]) for task in self.tasks if task.storage.quantity}

    def __len__(self) -> int:
        return self.frames.count

    def place(self, index: int) -> tuple[int, int]:
        """The shard of a sample, and its position there.

        Raises:
            IndexError: when there is no such sample.
        """
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return self.frames.locate(number)

    def key(self, index: int) -> str:
        """The key of a sample, which names it in shards, predictions and errors."""
        shard, position = self.place(index)
        return self.frames.readers[shard].key(position)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """A sample, or those of a slice. A label that it does not have, or may not show, is an absent name. Beside
        pseudo-labels stands what :meth:`shards.labels.LabelShards.read_arrays` gives with them.

        Raises:
            UserError: when its bytes are not those that were written.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        _, arrays = self.frames.read(*self.place(index), [task.name for task in self.tasks])
        return filled(resize_frame(arrays, self.size or arrays["rgb"].shape[:2]), self.tasks)

    def loader(
        self,
        global_batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        steps: int | None = None,
        shuffle_window: int = 32,
    ) -> Iterator[dict[str, Any]]:
        """Batches in the order of training: the same global batches whatever the number of ranks, from any step on.

        An epoch holds every sample once, but for a last batch that is not full; epochs follow each other without end
        unless ``steps`` says where.

        Args:
            global_batch_size: samples of a step over all ranks; a multiple of ``world_size``.
            seed: of the order.
            rank: whose part of each batch is given.
            world_size: how many ranks share a batch.
            start_step: the first step, from 0; nothing before it is read.
            steps: the step that is not reached any more.
            shuffle_window: shards whose samples are mixed (:class:`shards.order.Order`).

        Yields:
            Tensors by name, stacked: ``rgb`` ``(B, H, W, 3)`` and every task's label arrays with "no label" where a
            sample has none; and ``key``, a list.

        Raises:
            UserError: for a batch that cannot be cut, or is larger than an epoch; a sample's.
        """
        batches = Batches(global_batch_size, 1, rank, world_size)
        counts = [shard.samples for shard in self.frames.readers.shards]
        order = Order(counts, seed, window=shuffle_window)
        stop = sys.maxsize if steps is None else steps
        places = OrderedSource(order, batches, start_step, stop)()
        loaded = self._batches(iter(lambda: list(islice(places, batches.micro)), []))
        yield from followed(loaded, sources_of(self.frames), order, batches, start_step, stop)

    def _batches(self, parts: Iterable[Sequence[Position]]) -> Iterator[dict[str, Any]]:
        for part in parts:
            yield self._batch([int(self.frames.starts[place.shard]) + place.number for place in part])

    def _batch(self, indices: Sequence[int]) -> dict[str, Any]:
        samples = [self[index] for index in indices]
        height, width = samples[0]["rgb"].shape[:2]
        batch: dict[str, Any] = {"key": [self.key(index) for index in indices]}
        empty = {task.name: task.storage.empty(height, width) for task in self.tasks}
        for name in ("rgb", *empty):
            try:
                stacked = np.stack([sample[name] if name in sample else empty[name] for sample in samples])
            except ValueError:
                sizes = sorted({sample["rgb"].shape[:2] for sample in samples})
                what = "samples differ in size: " + ", ".join(f"{h}x{w}" for h, w in sizes)
                raise UserError(what, file=self.manifest.path, hint="give size=(height, width)") from None
            batch[name] = torch.from_numpy(stacked)
        return batch
