"""The data of a training run: the order of frames, their augmentation, and the batches of any steps of any rank."""

from collections.abc import Callable, Generator, Sequence
from copy import copy
from functools import cached_property, partial
from types import NoneType
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from shards.arguments import check_kind, check_size
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.frames import Frames
from shards.log import logger
from shards.mixture import Mixture
from shards.order import Order
from shards.prefetch import prefetch_batches, readers_of
from shards.stream import Batches, OrderedSource, Position, pipeline
from shards.tasks import Task
from trainer.augment import Augmentation
from trainer.batch import Batch, Collate
from trainer.config import Config
from trainer.cutmix import CutMix
from trainer.data import FrameLoader
from trainer.option import check_values
from trainer.parsing import parse_size
from trainer.sections import Augment, Data, Train

_FAR = 1.25
"""How many times the share that was asked for may be kept without a note."""


class TrainingData:
    """The frames that a network is trained on, in the order of contract 2.

    The network's inputs and tasks determine the frames of an epoch (:meth:`shards.frames.Frames.to_train`).

    Args:
        data: the data set.
        inputs: names of the network's inputs.
        tasks: names of the predicted tasks.
        seed: seed of order and augmentation; None for that of the trainer, and 0 without one.
        augment: random changes of frames; None for the defaults of :class:`trainer.sections.Augment`.
        size: height and width that frames are resized to; None for those of the data set.
        crop: height and width of the random window of a frame that is used; None for whole frames.
        pseudo_share: share of frames with pseudo-labels in every global batch; None draws from all frames alike.
        num_workers: number of threads that load ahead; 0 loads batches on demand.
        shuffle_window: number of shards whose samples are mixed.

    Attributes:
        inputs: names of the network's inputs.
        dataset: the samples of an epoch, with every task whose labels are read.
        frames: the frames of the data set with their visible labels.
        mask: the frames of an epoch, bool ``(count,)``.
        own_seed: whether the seed was given here.

    Raises:
        UserError: when no frame can be used for training, the data set lacks a task, a target has no label,
            pseudo-labels fill the holes of an input, or an argument or an option of ``augment`` is of another type or
            out of its range.
    """

    def __init__(
        self,
        data: ShardDataset,
        inputs: Sequence[str],
        tasks: Sequence[str],
        *,
        seed: int | None = None,
        augment: Augment | None = None,
        size: tuple[int, int] | None = None,
        crop: tuple[int, int] | None = None,
        pseudo_share: float | None = None,
        num_workers: int = 1,
        shuffle_window: int = 32,
    ) -> None:
        check_kind("data", data, ShardDataset)
        check_kind("augment", augment, Augment, NoneType)
        check_size("size", size)
        check_size("crop", crop)
        check_values(Train, {"pseudo_share": pseudo_share})
        check_values(Data, {"num_workers": num_workers, "shuffle_window": shuffle_window})
        check_values(Config, {} if seed is None else {"seed": seed})
        self.frames, self.size, self.crop = data.frames, size or data.size, crop
        self.inputs = list(inputs)
        self.seed, self.own_seed = seed or 0, seed is not None
        self.pseudo_share, self.num_workers, self.shuffle_window = pseudo_share, num_workers, shuffle_window
        self.augment = augment or Augment()
        check_values(Augment, vars(self.augment))
        for name in (*inputs, *tasks):
            if name != "rgb":
                data.manifest.task(name)
        self.dataset = data.with_targets(tasks, inputs, self.size)
        self.mask = self.dataset.frames.chosen
        if not len(self.dataset):
            raise UserError(data.frames.why_none_to_train(inputs, tasks), file=data.manifest.path, key="inputs")
        _check_labels(data.frames, self.mask, inputs, tasks)
        note_kept(data.frames)

    @classmethod
    def of(cls, config: Config, frames: Frames) -> "TrainingData":
        """Return the training data that a configuration describes."""
        data = config.data
        return cls(
            ShardDataset.of(frames),
            config.inputs,
            config.tasks,
            seed=config.seed,
            augment=OmegaConf.to_object(config.augment),  # type: ignore[arg-type]
            size=parse_size(data.size, "data.size"),
            crop=parse_size(data.crop, "data.crop"),
            pseudo_share=config.train.pseudo_share,
            num_workers=data.num_workers,
            shuffle_window=data.shuffle_window,
        )

    @property
    def samples(self) -> int:
        """Number of samples that an epoch draws from."""
        return len(self.dataset)

    def seeded(self, seed: int) -> "TrainingData":
        """Return the same data with a trainer's seed, unless they have one of their own."""
        if self.own_seed:
            return self
        data = copy(self)
        data.seed = seed
        return data

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task whose labels are read."""
        return self.dataset.tasks

    @property
    def frame(self) -> tuple[int, int] | None:
        """Height and width of the network's input; None where frames differ in size."""
        return self.crop or self.size or self.frames.manifest.size

    @cached_property
    def whole_frame(self) -> tuple[int, int] | None:
        """Height and width of the frames before any crop, at which a trained network should be used; None where they
        differ in size."""
        return self.size or self.frames.manifest.size or self.frames.common_size(self.mask)

    def order(self, global_batch_size: int) -> tuple[Order | Mixture, list[np.ndarray] | None]:
        """Return the order of the samples, and by shard the indices of the samples that it numbers; None for all
        samples in stored order.

        Raises:
            UserError: when a share of pseudo-labels is set that no batch can have, or all frames have them or none.
        """
        samples, share = self.dataset, self.pseudo_share
        if share is None or not self.frames.pseudo:
            return Order(samples.counts, self.seed, window=self.shuffle_window), None
        pseudo = self.frames.labelled_by_a_teacher[self.mask]
        ends = np.cumsum(samples.counts)[:-1]
        by_shard = [np.split(mask, ends) for mask in (~pseudo, pseudo)]
        first = [samples.shard(number).start for number in range(len(samples.counts))]
        pools = [[start + np.flatnonzero(mask) for start, mask in zip(first, masks, strict=True)] for masks in by_shard]
        counts = [[len(indices) for indices in pool] for pool in pools]
        share_size = frames_of_share(share, global_batch_size, *map(sum, counts))
        order = Mixture(counts, share_size, global_batch_size, self.seed, window=self.shuffle_window)
        return order, [np.concatenate(indices) for indices in zip(*pools, strict=True)]

    def batches(self, cut: Batches, start: int, stop: int, *, pin: bool = False) -> Generator[Batch]:
        """Yield the micro-batches of steps ``[start, stop)`` for one rank, in order.

        Raises:
            UserError: for a frame that cannot be loaded, at its batch's turn.
        """
        order, indices = self.order(cut.global_batch_size)
        loader = FrameLoader(self.dataset, indices=indices, augment=self.augmentation(), seed=self.seed)
        self.frames.keep_open(2 * self.shuffle_window)  # loading ahead reads from the next window as well
        load: Callable[[Position], Any] = loader
        if self.augment.cutmix:
            load = CutMix(loader, order, self.augment.cutmix, self.seed, self.tasks)
        stack = Collate(self.tasks, self.frames.file_of, self.frames.planes)

        def collate(samples: list[Any]) -> Batch:
            return stack(samples).pin_memory() if pin else stack(samples)

        source = OrderedSource(order, cut, start, stop)
        batches = partial(pipeline, source, load, collate, self.num_workers)
        yield from prefetch_batches(batches, readers_of(self.frames), order, cut, start, stop)

    def augmentation(self) -> Augmentation:
        """Return the augmentation of training samples."""
        return Augmentation(self.tasks, self.crop, self.augment)


def _check_labels(frames: Frames, mask: np.ndarray, inputs: Sequence[str], tasks: Sequence[str]) -> None:
    """Check that every target has labels in the frames of an epoch, and that no input is filled."""
    for name in inputs:
        if name in frames.holes:
            hint = "give data without them"
            raise UserError("is an input, and pseudo-labels fill its holes", key=f"pseudo[{name!r}]", hint=hint)
    for name in tasks:
        if not ((frames.visible[name] | frames.pseudo.get(name, False)) & mask).any():
            message = f"no sample shows {name}, so it would be learnt from nothing"
            hint = "leave it out, or give labels of it, such as a teacher's (pseudo)"
            raise UserError(message, file=frames.manifest.path, key="tasks", hint=hint)


def note_kept(frames: Frames) -> None:
    """Note pseudo-labels of which nothing is kept, or far more than the share that was asked for."""
    for name, labels in frames.label_shards.items():
        keep, share = labels.keep, labels.kept_share
        if share == 0:
            logger.warning(
                f"note: pseudo.{name}.keep={keep.value} keeps no pixel of the teacher's labels, so nothing is learnt "
                "from them: lower it, or keep a share of them, such as 50%"
            )
        elif keep.quantile is not None and share is not None and share > _FAR * keep.quantile:
            logger.warning(
                f"note: pseudo.{name}.keep={keep.value} keeps {share:.0%} of the teacher's labels, since their "
                "confidences are too close to each other; if an earlier version made the labels, make them again"
            )


def frames_of_share(share: float, global_batch_size: int, plain: int, pseudo: int) -> int:
    """Return how many frames of a global batch have pseudo-labels.

    Args:
        share: the share of them.
        global_batch_size: frames of a batch.
        plain: number of frames of an epoch that have no pseudo-label.
        pseudo: number of frames of an epoch that have one.

    Raises:
        UserError: when a share between 0 and 1 would be none of a batch's frames, or all; or when there are no frames
            of a kind that a batch needs.
    """
    count = round(share * global_batch_size)
    if 0 < share < 1 and count in (0, global_batch_size):
        message = f"{share:g} of a batch of {global_batch_size} would be {count} frames"
        raise UserError(message, key="pseudo_share", hint="give a larger batch; or 0, 1 or null")
    if (count and not pseudo) or (count < global_batch_size and not plain):
        message = f"all {plain + pseudo} frames have pseudo-labels" if pseudo else f"none of {plain} frames has one"
        raise UserError(message, key="pseudo_share", hint="leave it out")
    return count
