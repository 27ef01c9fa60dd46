"""How frequent each class is among the labels that training may see, for a loss that makes up for it.

Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021), eq. 10: the loss sees logits plus τ·log π, with π
the frequencies of the classes, so that the network's own logits do without the advantage of being frequent.

A student of soft labels needs more of it than its teacher. It sees less, is less sure, and where it is unsure the
frequent classes of what it learnt from win: with τ′·log π′ in the loss, π′ the mean soft label, they do not.
"""

import numpy as np
import torch

from shards.frames import Frames
from shards.holes import FILL, filled
from shards.labels import WEIGHT
from shards.resize import resize_label
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS
from shards.tasks import Task

FRAMES = 512
"""Frames whose labels are counted at most, spread evenly over those that show any."""
_SMOOTHING = 1e-3  # of an even share, so that a class that never occurs has a logarithm


def class_frequencies(frames: Frames, task: Task, most: int = FRAMES) -> np.ndarray:
    """The share of each class among the labelled pixels that may be seen, ground truth alone, ``(C,)`` float64.

    Args:
        frames: the training split under its budgets.
        task: of a kind whose outputs are distributions over classes.
        most: frames that are counted.
    """
    counts = np.zeros(task.channels)
    member = frames.manifest.label_member(task.name)
    for shard, positions in enumerate(frames.by_shard(_spread(frames.visible[task.name], most))):
        for position in positions:
            label = frames.readers[shard].decode(int(position), lambda name: name == member)[task.name]
            counts += task.storage.statistics(label)["pixels"]
    return _smooth(counts)


def soft_frequencies(frames: Frames, task: Task, most: int = FRAMES) -> np.ndarray:
    """The share of each class among what soft labels name, ``(C,)`` float64; as :func:`class_frequencies`. Pixels count
    as they are learnt: those that are kept, by their weight, and in holes of ground truth those that it leaves open."""
    taught = frames.pseudo[task.name] | frames.holes.get(task.name, False)
    counts = np.zeros(task.channels)
    for shard, positions in enumerate(frames.by_shard(_spread(taught, most))):
        for position in positions:
            counts += _soft_counts(frames, task, shard, int(position))
    return _smooth(counts)


def _soft_counts(frames: Frames, task: Task, shard: int, position: int) -> np.ndarray:
    """What one frame's soft labels name, by class."""
    reader, name = frames.readers[shard], task.name
    arrays = frames.sources[name].read_arrays(shard, reader.key(position))
    if not frames.pseudo[name][frames.starts[shard] + position]:
        truth = reader.decode(position, frames.manifest.label_member(name).__eq__)[name]
        arrays = {of: resize_label(array, truth.shape[:2]) for of, array in arrays.items()}
        arrays = filled(arrays | {name: truth, f"{name}.{FILL}": arrays[name]}, [task])
    label = arrays[name]
    named, steps = np.split(resize_label(arrays[f"{name}.{SOFT}"], label.shape[:2]), 2, axis=-1)
    weight = resize_label(arrays[f"{name}.{WEIGHT}"], label.shape[:2]) / STEPS if f"{name}.{WEIGHT}" in arrays else 1
    learnt = steps * weight * task.storage.labelled(label)[..., None]
    return np.bincount(named.ravel(), learnt.ravel(), minlength=task.channels)


def _spread(mask: np.ndarray, most: int) -> np.ndarray:
    """Rows of a mask, spread evenly, so many at most."""
    rows = np.flatnonzero(mask)
    chosen = np.zeros(len(mask), bool)
    if len(rows):
        chosen[rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]] = True
    return chosen


def _smooth(counts: np.ndarray) -> np.ndarray:
    even = max(counts.sum(), 1) / len(counts)
    smooth = counts + _SMOOTHING * even
    return smooth / smooth.sum()


def logit_offsets(
    frames: Frames, tasks: tuple[Task, ...], strength: float, of_soft: float = 0.0
) -> dict[str, torch.Tensor]:
    """What the loss adds to logits of every task that has classes, ``(2, C)`` float32: under ground truth and under
    soft labels. Nothing where there is nothing to add.

    Args:
        strength: τ. Under ground truth τ·log π is added, π being the classes' frequencies.
        of_soft: τ′. Of a task with soft labels τ′·log π′ is added everywhere, π′ being their mean.
    """
    offsets = {}
    for task in tasks:
        labels = frames.sources.get(task.name)
        soft = of_soft if labels is not None and labels.keep.soft else 0.0
        if not task.storage.distribution or not (strength or soft):
            continue
        offset = np.zeros((2, task.channels))
        if strength:
            offset[0] = strength * np.log(class_frequencies(frames, task))
        if soft:
            offset += soft * np.log(soft_frequencies(frames, task))
        offsets[task.name] = torch.from_numpy(offset).float()
    return offsets
