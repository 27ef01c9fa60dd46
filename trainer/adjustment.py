"""How frequent each class is among the labels that training may see, for a loss that makes up for it.

Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021), eq. 10: the loss sees logits plus τ·log π, with π
the frequencies of the classes, so that the network's own logits do without the advantage of being frequent.
"""

import numpy as np
import torch

from shards.frames import Frames
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
    rows = np.flatnonzero(frames.visible[task.name])
    counted = np.zeros(frames.count, bool)
    if len(rows):
        counted[rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]] = True
    counts = np.zeros(task.channels)
    member = frames.manifest.label_member(task.name)
    for shard, positions in enumerate(frames.by_shard(counted)):
        for position in positions:
            label = frames.readers[shard].decode(int(position), lambda name: name == member)[task.name]
            counts += task.storage.statistics(label)["pixels"]
    even = max(counts.sum(), 1) / task.channels
    smooth = counts + _SMOOTHING * even
    return smooth / smooth.sum()


def logit_offsets(frames: Frames, tasks: tuple[Task, ...], strength: float) -> dict[str, torch.Tensor]:
    """τ·log π of every task that has classes, ``(C,)`` float32; nothing where the strength τ is 0."""
    wanted = [task for task in tasks if task.storage.distribution] if strength else []
    return {task.name: torch.from_numpy(strength * np.log(class_frequencies(frames, task))).float() for task in wanted}
