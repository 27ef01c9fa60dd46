"""A map-style data set of a prepared data set: samples by index, and batches in the exact order of training."""

import operator
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from types import NoneType
from typing import Any, overload

import numpy as np
from torch.utils.data import Dataset

from shards.ahead import load_ahead
from shards.arguments import check_count, check_kind, check_size
from shards.cache import Cache
from shards.collate import collate
from shards.errors import UserError
from shards.frames import Frames
from shards.holes import fill_holes
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.order import Order
from shards.prefetch import prefetch_batches, readers_of
from shards.pseudolabels import PseudoLabels
from shards.resize import resize_frame
from shards.store import Place, check_place
from shards.stream import Batches, OrderedSource, Position
from shards.tasks import Task, check_is_list
from shards.window import LazyWindow

Sample = dict[str, np.ndarray]
"""``rgb`` uint8 ``(H, W, 3)`` and the available labels by their task's name, in the forms of :mod:`shards.tasks`."""


class ShardDataset(Dataset[Sample]):
    """Samples of a split by index, each read and verified when it is requested.

    It may be pickled, and used in forked and spawned worker processes. ::

        train = ShardDataset("data/scenes", "train")
        train[17]["depth"]

    Args:
        data: path or URL of the folder that ``tutelage prepare`` wrote, or its manifest.
        split: ``train``, ``val``, ...
        tasks: names of the tasks whose labels are read; None for all.
        pseudo: pseudo-labels by the name of their task.
        size: height and width that samples are resized to; None keeps theirs.
        labels: budgets: how many samples may show each task's label (:mod:`shards.budgets`); a task that is missing
            shows all its labels.
        seed: seed of the choice of those samples.
        cache: cache for shards in a store; None for a :class:`shards.cache.Cache` with default arguments.

    Attributes:
        manifest: the manifest of the data set.
        tasks: the tasks whose labels are read.
        frames: the masks of which sample of the split may show which label.
        counts: the number of samples in each shard of the split, int64.

    Raises:
        UserError: when the data set, a task or a split is missing, a budget is larger than the data, or pseudo-labels
            belong to other data.
    """

    manifest: Manifest
    tasks: tuple[Task, ...]
    frames: Frames
    counts: np.ndarray

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
        if not isinstance(data, Manifest):
            check_place("data", data)
        manifest = data if isinstance(data, Manifest) else Manifest.load(data, cache=cache)
        check_is_list("tasks", tasks)
        check_size("size", size)
        check_count("seed", seed, 0)
        for name, mapping in (("labels", labels), ("pseudo", pseudo)):
            check_kind(name, mapping, Mapping, NoneType)
        names = [task.name for task in manifest.tasks] if tasks is None else list(tasks)
        chosen_tasks = tuple(manifest.task(name) for name in names)
        frames = Frames(manifest, split, seed=seed, budgets=labels)
        for name, source in (pseudo or {}).items():
            if not isinstance(source, PseudoLabels):
                hint = "give PseudoLabels(folder)"
                raise UserError(f"is a {type(source).__name__}", key=f"pseudo[{name!r}]", hint=hint)
            if name not in names:
                raise UserError(f"{name} is none of the tasks {', '.join(names)}", key=f"pseudo[{name!r}]")
            labels_of_task = LabelShards(source.folder, manifest, split, manifest.task(name), source.keep)
            frames.add_pseudo(labels_of_task, source.holes)
        self._set(frames, chosen_tasks, size)

    @classmethod
    def of(
        cls, frames: Frames, tasks: Collection[str] | None = None, size: tuple[int, int] | None = None
    ) -> "ShardDataset":
        """Return the data set of frames that were chosen already.

        Args:
            frames: a split; the samples are those of its mask ``chosen``.
            tasks: names of the tasks whose labels are read; None for all.
            size: height and width that samples are resized to; None keeps theirs.
        """
        manifest = frames.manifest
        names = [task.name for task in manifest.tasks] if tasks is None else tasks
        dataset = cls.__new__(cls)
        dataset._set(frames, tuple(manifest.task(name) for name in names), size)
        return dataset

    def _set(self, frames: Frames, tasks: tuple[Task, ...], size: tuple[int, int] | None) -> None:
        self.manifest, self.split = frames.manifest, frames.split
        self.frames, self.tasks, self.size = frames, tasks, size
        everything = frames.chosen.all()
        self._rows = None if everything else np.flatnonzero(frames.chosen).astype(np.uint32)  # none for a whole split
        self._starts = frames.starts if self._rows is None else np.searchsorted(self._rows, frames.starts)
        self.counts = np.diff(self._starts)

    @property
    def statistics(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation over the split of every scalar task, in its unit."""
        statistics = self.manifest.statistics[self.split]
        pairs = ((task.name, task.storage.mean_and_deviation(statistics[task.name])) for task in self.tasks)
        return {name: pair for name, pair in pairs if pair}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def select(self, samples: Iterable[int] | np.ndarray) -> "ShardDataset":
        """Return a data set of some of these samples, in stored order and each once. It may be trained on, evaluated
        and labelled like any other. ::

            kitchens = val.select(i for i in range(len(val)) if "kitchen" in val.key(i))

        Args:
            samples: indices, or a mask, bool ``(len(self),)``.

        Raises:
            IndexError: when an index is out of range, or a mask has another length.
            UserError: when these are no indices.
        """
        indices = samples if isinstance(samples, np.ndarray) else np.array([*samples])
        mask = np.zeros(len(self), bool)
        if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "biu"):
            raise UserError("are no indices", key="samples", hint="give whole numbers, or a mask of bool")
        if indices.dtype == bool and len(indices) != len(self):
            raise IndexError(f"mask of {len(indices)} for {len(self)} samples")
        if indices.dtype != bool and len(indices):
            for index in (indices.min(), indices.max()):
                self.locate(index)
        if len(indices):
            mask[indices] = True
        chosen = self.frames.chosen.copy()
        chosen[self.frames.chosen] = mask
        return ShardDataset.of(self.frames.restrict(chosen), [task.name for task in self.tasks], self.size)

    def with_inputs(
        self, inputs: Sequence[str], tasks: Sequence[str] | None = None, size: tuple[int, int] | None = None
    ) -> "ShardDataset":
        """Return a data set of the samples whose inputs can all be seen.

        Args:
            inputs: names of inputs: ``rgb``, and tasks whose labels are inputs. These labels are read.
            tasks: names of the tasks whose labels are read as well; None for those of this data set.
            size: height and width that samples are resized to; None for that of this data set.
        """
        names = self._labels(inputs, tasks)
        return ShardDataset.of(self.frames.restrict(self.frames.with_inputs(inputs)), names, size or self.size)

    def with_targets(
        self,
        tasks: Sequence[str] | None = None,
        inputs: Sequence[str] = ("rgb",),
        size: tuple[int, int] | None = None,
    ) -> "ShardDataset":
        """Return a data set of the samples that a network is trained on: those whose inputs can all be seen, and which
        show a label or pseudo-label of what it predicts (:meth:`shards.frames.Frames.to_train`).

        Args:
            tasks: names of the predicted tasks; None for those of this data set.
            inputs: names of the network's inputs, as for :meth:`with_inputs`.
            size: height and width that samples are resized to; None for that of this data set.
        """
        names = self._labels(inputs, tasks)
        tasks = [task.name for task in self.tasks] if tasks is None else tasks
        return ShardDataset.of(self.frames.restrict(self.frames.to_train(inputs, tasks)), names, size or self.size)

    def _labels(self, inputs: Sequence[str], tasks: Sequence[str] | None) -> list[str]:
        """Return the names of the labels that a network with these inputs and tasks reads.

        Raises:
            UserError: when the data set lacks one.
        """
        check_is_list("inputs", inputs)
        check_is_list("tasks", tasks)
        names = [*inputs, *([task.name for task in self.tasks] if tasks is None else tasks)]
        return [self.manifest.task(name).name for name in dict.fromkeys(names) if name != "rgb"]

    def locate(self, index: int) -> tuple[int, int]:
        """Return the number of a sample's shard, and its position in the shard.

        Raises:
            IndexError: when the index is out of range.
            TypeError: when it is not an integer.
        """
        index = operator.index(index)
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"sample {index} of {len(self)}, counted from 0")
        return self.frames.locate(number if self._rows is None else int(self._rows[number]))

    def shard(self, number: int) -> range:
        """Return the indices of the samples in a shard of the split.

        Args:
            number: of the shard, from 0; a negative one counts from the end.

        Raises:
            IndexError: when there is no such shard.
        """
        number = range(len(self.counts))[number]
        return range(int(self._starts[number]), int(self._starts[number + 1]))

    def key(self, index: int) -> str:
        """Return the key of a sample, which identifies it in shards, predictions and errors."""
        shard, position = self.locate(index)
        return self.frames.readers[shard].key(position)

    def file(self, index: int) -> Place:
        """Return the shard that holds a sample."""
        return self.frames.readers[self.locate(index)[0]].path

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Return one sample, or a list of the samples of a slice. Labels that a sample lacks, or that the budget hides,
        are absent keys. Pseudo-labels come with the arrays of :meth:`shards.labels.LabelShards.read_arrays`.

        Raises:
            UserError: when its bytes differ from those that were written.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        return self.resize(self.stored(index)[1])

    def stored(self, index: int, window: LazyWindow | None = None) -> tuple[str, Sample]:
        """Return a sample's key and its arrays at their stored size, or a window of them (:meth:`Frames.read`)."""
        return self.frames.read(*self.locate(index), [task.name for task in self.tasks], window)

    def resize(self, arrays: Sample) -> Sample:
        """Return stored arrays at the size of the data set, with holes filled by pseudo-labels."""
        size = self.size or arrays["rgb"].shape[:2]  # a pseudo-label may have another size
        return fill_holes(resize_frame(arrays, size), self.tasks)

    def label(self, index: int, task: str) -> np.ndarray | None:
        """Return a sample's own label of a task at its stored size, without decoding anything else; None where it has
        none, or may not show it.

        Raises:
            UserError: when the data set has no such task, or bytes differ from those that were written.
        """
        self.manifest.task(task)
        shard, position = self.locate(index)
        return self.frames.truth(shard, position, task)

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
        num_workers: int = 1,
    ) -> Iterator[dict[str, Any]]:
        """Yield batches in the order of training: the same global batches for any number of ranks, from any step on.

        An epoch holds every sample once, except those of a last incomplete batch; epochs follow each other without end
        unless ``steps`` is given. A trainer leaves out samples without a target, and so yields these batches for the
        data set that :meth:`with_targets` returns.

        Args:
            global_batch_size: samples of a step over all ranks; a multiple of ``world_size``.
            seed: seed of the order.
            rank: the rank whose part of each batch is returned.
            world_size: number of ranks that share a batch.
            start_step: the first step, from 0; nothing before it is read.
            steps: the step to stop before, counted from 0 as ``start_step`` is; None for no end.
            shuffle_window: number of shards whose samples are mixed (:class:`shards.order.Order`).
            num_workers: number of threads that load ahead; 0 loads batches on demand. It does not change the batches.

        Yields:
            Stacked tensors by name: ``rgb`` ``(B, H, W, 3)``; every task's label arrays, with "no label" where a
            sample has none; the arrays that come with pseudo-labels (:attr:`shards.labels.LabelShards.planes`), with
            full weight and no soft label where a sample has none; and ``key``, a list.

        Raises:
            UserError: for a batch that cannot be divided, or is larger than an epoch, and for negative steps; or as
                for a single sample.
        """
        check_count("seed", seed, 0)
        check_count("start_step", start_step, 0)
        check_count("steps", 0 if steps is None else steps, 0)
        batches = Batches(global_batch_size, 1, rank, world_size)
        order = Order(self.counts, seed, window=shuffle_window)
        stop = sys.maxsize if steps is None else steps
        positions = OrderedSource(order, batches, start_step, stop)()
        groups = iter(lambda: list(islice(positions, batches.micro)), [])
        load = partial(load_ahead, groups, self._load, self._collate, num_workers)
        self.frames.keep_open(2 * shuffle_window)  # the next window, too
        yield from prefetch_batches(load, readers_of(self.frames), order, batches, start_step, stop)

    def _load(self, position: Position) -> tuple[str, Sample]:
        key, arrays = self.stored(self.shard(position.shard)[position.number])
        return key, self.resize(arrays)

    def _collate(self, samples: list[tuple[str, Sample]]) -> dict[str, Any]:
        return collate(samples, self.tasks, self.frames.planes, self.manifest.path)
