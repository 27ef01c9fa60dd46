"""Class frequencies of the labels that training may see, and the logit adjustment that compensates for them.

Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021), eq. 10: the loss is computed on logits plus
τ·log π, where π are the class frequencies, so that the network's own logits do not favour frequent classes.

A student of soft labels needs more adjustment than its teacher. It sees less and is less certain, and where it is
uncertain, the frequent classes of its soft labels win. Adding τ′·log π′ in the loss, with π′ the mean soft label,
prevents that.
"""

import numpy as np
import torch

from shards.evenly import evenly_spaced
from shards.frames import Frames
from shards.holes import FILL, fill_holes
from shards.labels import WEIGHT
from shards.resize import resize_label
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS
from shards.tasks import Task

FRAMES = 512
"""Largest number of frames whose labels are counted, spread evenly over those that show any."""
_SMOOTHING = 1e-3  # as a fraction of a uniform share, so that the logarithm of a class that never occurs is finite


def class_frequencies(frames: Frames, task: Task, max_frames: int = FRAMES) -> np.ndarray:
    """Return the share of each class among the visible labelled pixels of ground truth, ``(C,)`` float64.

    Args:
        frames: the training split under its budgets.
        task: of a kind whose outputs are distributions over classes.
        max_frames: the largest number of frames that are counted.
    """
    counts = np.zeros(task.channels)
    for row in _select_evenly(frames.visible[task.name], max_frames):
        label = frames.truth(*frames.locate(row), task.name)
        assert label is not None, "rows of visible labels"
        counts += task.storage.statistics(label)["pixels"]
    return _smooth(counts)


def soft_frequencies(frames: Frames, task: Task, max_frames: int = FRAMES) -> np.ndarray:
    """Return the share of each class in the soft labels, ``(C,)`` float64, like :func:`class_frequencies`. Pixels count
    as they do in training: those that are kept, by their weight, and beside ground truth only those in its holes."""
    has_soft_label = frames.pseudo[task.name] | frames.holes.get(task.name, False)
    counts = np.zeros(task.channels)
    for row in _select_evenly(has_soft_label, max_frames):
        counts += _soft_counts(frames, task, row)
    return _smooth(counts)


def _soft_counts(frames: Frames, task: Task, row: int) -> np.ndarray:
    """Return the class counts of one frame's soft labels, ``(C,)``."""
    (shard, position), name = frames.locate(row), task.name
    arrays = frames.label_shards[name].read_arrays(shard, frames.readers[shard].key(position))
    if not frames.pseudo[name][row]:
        truth = frames.truth(shard, position, name)
        assert truth is not None, "holes are in visible labels"
        arrays = {key: resize_label(array, truth.shape[:2]) for key, array in arrays.items()}
        arrays = fill_holes(arrays | {name: truth, f"{name}.{FILL}": arrays[name]}, [task])
    label = arrays[name]
    classes, steps = np.split(resize_label(arrays[f"{name}.{SOFT}"], label.shape[:2]), 2, axis=-1)
    weight = resize_label(arrays[f"{name}.{WEIGHT}"], label.shape[:2]) / STEPS if f"{name}.{WEIGHT}" in arrays else 1
    counts = steps * weight * task.storage.labelled(label)[..., None]
    return np.bincount(classes.ravel(), counts.ravel(), minlength=task.channels)


def _select_evenly(mask: np.ndarray, limit: int) -> list[int]:
    """Return at most ``limit`` rows of a mask, evenly spaced."""
    rows = np.flatnonzero(mask)
    return rows[evenly_spaced(len(rows), limit)].tolist()


def _smooth(counts: np.ndarray) -> np.ndarray:
    uniform = max(counts.sum(), 1) / len(counts)
    smoothed = counts + _SMOOTHING * uniform
    return smoothed / smoothed.sum()


def logit_offsets(
    frames: Frames, tasks: tuple[Task, ...], strength: float, soft_strength: float = 0.0
) -> dict[str, torch.Tensor]:
    """Return what the loss adds to the logits of each task with classes, ``(2, C)`` float32: first for ground truth,
    then for soft labels. Tasks without an adjustment are left out.

    Args:
        strength: τ. For ground truth, τ·log π is added, where π are the class frequencies.
        soft_strength: τ′. For a task with soft labels, τ′·log π′ is added everywhere, where π′ is their mean.
    """
    offsets = {}
    for task in tasks:
        labels = frames.label_shards.get(task.name)
        soft = soft_strength if labels is not None and labels.keep.soft else 0.0
        if not task.storage.distribution or not (strength or soft):
            continue
        offset = np.zeros((2, task.channels))
        if strength:
            offset[0] = strength * np.log(class_frequencies(frames, task))
        if soft:
            offset += soft * np.log(soft_frequencies(frames, task))
        offsets[task.name] = torch.from_numpy(offset).float()
    return offsets
