"""From shards to the tensors of a batch: what is read of a frame, how it is augmented, and what a batch looks like."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from shards.errors import UserError
from shards.mixture import Mixture
from shards.order import Order, mix
from shards.resize import resize_frame
from shards.stream import Batches, OrderedSource, Position, pipeline
from shards.tasks import Task
from trainer.augment import Augment, no_plane, to_tensors
from trainer.config import Config
from trainer.configvalues import parse_size
from trainer.cutmix import CutMix
from trainer.frames import Frames
from trainer.kinds import learning
from trainer.losses import MultiTaskLoss
from trainer.runtime import ignore_signals

_T = TypeVar("_T")
_AUGMENT = 0xA46  # keeps the augmentation's random stream apart from the order's


@dataclass
class Batch:
    """A micro-batch of B frames.

    Args:
        rgb: uint8 ``(B, 3, H, W)``.
        labels: by task, in the form :func:`trainer.losses.loss_sums` takes; frames without a label hold "no label".
        keys: of the frames, in position order.
        counts: this batch's share of each task's denominator, ``(T,)`` (see :mod:`trainer.losses`).
    """

    rgb: torch.Tensor
    labels: dict[str, torch.Tensor]
    keys: list[str]
    counts: torch.Tensor

    def __getstate__(self) -> dict[str, Any]:
        """All tensors as one buffer: each that a loader worker sends costs a wait for that busy process, about 1 ms."""
        tensors = {"rgb": self.rgb, "counts": self.counts, **self.labels}
        layout = [(name, tensor.dtype, tensor.shape) for name, tensor in tensors.items()]
        flat = [tensor.contiguous().view(-1).view(torch.uint8) for tensor in tensors.values()]
        sizes = [part.numel() for part in flat]
        padded = [torch.nn.functional.pad(part, (0, -part.numel() % 8)) for part in flat]  # dtypes want alignment
        return {"buffer": torch.cat(padded), "sizes": sizes, "layout": layout, "keys": self.keys}

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = state["buffer"].split([size + -size % 8 for size in state["sizes"]])
        tensors = {
            name: part[:size].view(dtype).view(shape)
            for part, size, (name, dtype, shape) in zip(parts, state["sizes"], state["layout"], strict=True)
        }
        self.rgb, self.counts, self.keys = tensors.pop("rgb"), tensors.pop("counts"), state["keys"]
        self.labels = tensors

    def to(self, device: torch.device) -> "Batch":
        labels = {name: label.to(device, non_blocking=True) for name, label in self.labels.items()}
        return Batch(self.rgb.to(device, non_blocking=True), labels, self.keys, self.counts)

    def pin_memory(self) -> "Batch":
        labels = {name: label.pin_memory() for name, label in self.labels.items()}
        return Batch(self.rgb.pin_memory(), labels, self.keys, self.counts)

    def inputs(self, names: Sequence[str], memory_format: torch.memory_format) -> dict[str, torch.Tensor]:
        """What the network takes: RGB as floats in 0..1, labels as they are."""
        tensors = {name: self.labels[name] for name in names if name != "rgb"}
        if "rgb" in names:
            tensors["rgb"] = self.rgb.to(torch.float32, memory_format=memory_format).div_(255)
        return {name: tensors[name] for name in names}


class FrameLoader:
    """Reads a frame with the labels that may be seen, as tensors.

    Args:
        frames: the split and what is visible of it.
        chosen: positions within each shard that an ordinal counts (:meth:`Frames.by_shard`).
        inputs, tasks: names of what the network sees and predicts.
        size: (height, width) that frames are resized to; None keeps theirs.
        augment: applied with a seed that follows from (seed, epoch, position); None for evaluation.
        seed: of the run.
    """

    def __init__(
        self,
        frames: Frames,
        chosen: Sequence[np.ndarray],
        inputs: Sequence[str],
        tasks: Sequence[str],
        *,
        size: tuple[int, int] | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.frames, self.chosen, self.size, self.augment, self.seed = frames, chosen, size, augment, seed
        names = dict.fromkeys([*inputs, *tasks])
        self.tasks = [frames.manifest.task(name) for name in names if name != "rgb"]

    def __call__(self, place: Position) -> tuple[str, dict[str, torch.Tensor]] | UserError:
        """A frame's key and tensors, or the error it raised: torch's loader would drop what an exception says."""
        return self.guarded(self.load, place)

    def guarded(self, load: Callable[[Position], _T], place: Position) -> _T | UserError:
        """What a function of a position returns, or the error it raised, with the frame's shard and key."""
        try:
            return load(place)
        except UserError as error:
            reader = self.frames.readers[place.shard]
            key = reader.key(int(self.chosen[place.shard][place.number]))
            return error if error.file else UserError(error.what, file=reader.path, key=key, hint=error.hint)

    def load(self, place: Position) -> tuple[str, dict[str, torch.Tensor]]:
        key, arrays = self.read(place)
        return key, self.tensors(arrays, place)

    def read(self, place: Position) -> tuple[str, dict[str, np.ndarray]]:
        """A frame's key and arrays, at the size that they are stored in."""
        position = int(self.chosen[place.shard][place.number])
        row = self.frames.starts[place.shard] + position
        reader = self.frames.readers[place.shard]
        key = reader.key(position)
        seen = {f"{task.name}.png" for task in self.tasks if self.frames.visible[task.name][row]}
        arrays = reader.decode(position, lambda extension: extension in seen or extension.startswith("rgb."))
        for name, source in self.frames.sources.items():
            if self.frames.pseudo[name][row]:
                arrays |= source.read_arrays(place.shard, key)
        if "rgb" not in arrays:
            raise UserError("has no RGB", file=reader.path, key=key, hint="prepare the data set again")
        return key, arrays

    def tensors(self, arrays: Mapping[str, np.ndarray], place: Position) -> dict[str, torch.Tensor]:
        """A frame's arrays as the network learns from them or sees them."""
        size = self.size or arrays["rgb"].shape[:2]  # a pseudo-label may have another one
        arrays = resize_frame(arrays, size)
        if self.augment is None:
            return to_tensors(arrays, self.tasks)
        return self.augment(arrays, mix(self.seed, _AUGMENT, place.epoch, place.position))


class Collate:
    """Frames → :class:`Batch`, with "no label" where a frame has none.

    Args:
        labels: every task that may appear, as an input or a target.
        count: gives a batch's share of the loss's denominators (:meth:`trainer.losses.MultiTaskLoss.counts`); None
            where there is no loss.
        file_of: finds the shard of a key, for errors.
        planes: the arrays beside pseudo-labels, each with its channels; frames without them weigh fully and have no
            soft label.
    """

    def __init__(
        self,
        labels: Sequence[Task],
        count: Callable[[Mapping[str, torch.Tensor]], torch.Tensor] | None = None,
        file_of: Callable[[str], Path] | None = None,
        planes: Mapping[str, int] | None = None,
    ) -> None:
        self.labels, self.count, self.file_of, self.planes = labels, count, file_of, dict(planes or {})

    def __call__(self, samples: list[Any]) -> Batch | UserError:
        failed = next((sample for sample in samples if isinstance(sample, UserError)), None)
        if failed is not None:
            return failed
        keys = [key for key, _ in samples]
        sizes = [tuple(tensors["rgb"].shape[-2:]) for _, tensors in samples]
        size = sizes[0]
        if len(set(sizes)) > 1:
            key = next(key for key, other in zip(keys, sizes, strict=True) if other != size)
            what = "frames differ in size: " + ", ".join(f"{h}x{w}" for h, w in sorted(set(sizes)))
            hint = "set data.size or data.crop to HEIGHTxWIDTH"
            return UserError(what, file=self.file_of(key) if self.file_of else None, key=key, hint=hint)
        batch = {"rgb": torch.stack([tensors["rgb"] for _, tensors in samples])}
        for task in self.labels:
            nothing = learning(task).blank(*size)
            batch[task.name] = torch.stack([tensors.get(task.name, nothing) for _, tensors in samples])
        for name, channels in self.planes.items():
            nothing = no_plane(name, channels, *size)
            batch[name] = torch.stack([tensors.get(name, nothing) for _, tensors in samples])
        rgb = batch.pop("rgb")
        return Batch(rgb, batch, keys, self.count(batch) if self.count else torch.zeros(0))


def load_batches(loader: FrameLoader, collate: Collate, places: Iterable[Position]) -> list[Batch]:
    """Frames as one batch or, where they differ in size, as a batch each.

    Raises:
        UserError: a frame's.
    """
    samples = list(checked(map(loader, places)))
    sizes = {tensors["rgb"].shape for _, tensors in samples}
    return list(checked(map(collate, [samples] if len(sizes) == 1 else [[sample] for sample in samples])))


def training_batches(
    config: Config,
    frames: Frames,
    criterion: MultiTaskLoss,
    batches: Batches,
    start: int,
    stop: int,
    *,
    pin: bool = False,
) -> Generator[Batch]:
    """The micro-batches of steps ``[start, stop)`` for one rank, in order.

    Raises:
        UserError: from any loader worker, as it was raised there.
    """
    order, chosen = order_of(config, frames)
    loader = FrameLoader(
        frames,
        chosen,
        config.inputs,
        config.tasks,
        size=parse_size(config.data.size, "data.size"),
        augment=augment_of(config, frames),
        seed=config.seed,
    )
    frames.readers.keep = 2 * config.data.shuffle_window  # a loader that is ahead has the next window open as well
    collate = Collate(loader.tasks, criterion.counts, frames.file_of, frames.planes)
    load: Callable[[Position], Any] = loader
    if config.augment.cutmix:
        load = CutMix(loader, order, config.augment.cutmix, config.seed, loader.tasks)
    stages = pipeline(OrderedSource(order, batches, start, stop), load, collate)
    yield from checked(torch_loader(stages, config.data.num_workers, pin))


def order_of(config: Config, frames: Frames) -> tuple[Order | Mixture, list[np.ndarray]]:
    """The order of an experiment's training samples, and the positions within each shard that it numbers.

    Raises:
        UserError: when all frames, or none, have pseudo-labels where a share of them is asked for.
    """
    mask = frames.to_train(config.inputs, config.tasks)
    share, size = config.train.pseudo_share, config.train.global_batch_size
    if share is None or not frames.pseudo:
        chosen = frames.by_shard(mask)
        return Order([len(of) for of in chosen], config.seed, window=config.data.shuffle_window), chosen
    pseudo = frames.labelled_by_a_teacher
    pools = [frames.by_shard(mask & ~pseudo), frames.by_shard(mask & pseudo)]
    counts = [[len(of) for of in pool] for pool in pools]
    try:
        order = Mixture(counts, round(share * size), size, config.seed, window=config.data.shuffle_window)
    except UserError as error:
        hint = "leave it out: all frames are of one kind"
        raise UserError(error.what, key="train.pseudo_share", hint=hint) from error
    return order, [np.concatenate(of) for of in zip(*pools, strict=True)]


def torch_loader(dataset: Any, workers: int, pin: bool = False) -> DataLoader:
    """A loader of ready batches. Workers are started afresh (``spawn``): a fork copies the locks of this process's
    threads, and a held one stops the worker for ever. The generator, of which nothing depends, is a loader's own, so
    that a run that continues finds the global one where it was saved."""
    context = {"multiprocessing_context": "spawn", "prefetch_factor": 4, "worker_init_fn": ignore_signals}
    generator = torch.Generator()
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin,
        generator=generator,
        **(context if workers else {}),  # type: ignore[arg-type]
    )


def checked(loader: Any) -> Iterator[Any]:
    """The loader's items; an error that came as an item is raised."""
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item


def augment_of(config: Config, frames: Frames) -> Augment:
    """The augmentation that a configuration asks for."""
    names = dict.fromkeys([*config.inputs, *config.tasks])
    return Augment(
        tuple(frames.manifest.task(name) for name in names if name != "rgb"),
        crop=parse_size(config.data.crop, "data.crop"),
        flip=config.augment.flip,
        zoom=tuple(config.augment.zoom),
        jitter=config.augment.jitter,
        zoom_window=config.augment.zoom_window,
        grey=config.augment.grey,
        blur=config.augment.blur,
    )
