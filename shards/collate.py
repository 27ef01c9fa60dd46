"""Stacks samples of a data set to a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from shards.errors import UserError
from shards.labels import absent_value
from shards.store import Place
from shards.tasks import Task


def collate(
    samples: Sequence[tuple[str, Mapping[str, np.ndarray]]],
    tasks: Sequence[Task],
    planes: Mapping[str, int],
    file: Place,
) -> dict[str, Any]:
    """Return the batch of some samples, each a key and its arrays (:meth:`shards.dataset.ShardDataset.loader`).

    Args:
        samples: at least one.
        tasks: the tasks whose labels are read.
        planes: the channels of each array that accompanies pseudo-labels, by name.
        file: the manifest, for error messages.

    Raises:
        UserError: when they differ in size.
    """
    keys, arrays = zip(*samples, strict=True)
    height, width = arrays[0]["rgb"].shape[:2]
    batch: dict[str, Any] = {"key": list(keys)}
    empty = {task.name: task.storage.empty(height, width) for task in tasks}
    for name, channels in planes.items():
        empty[name] = np.full((height, width, channels), absent_value(name), np.uint8)
    for name in ("rgb", *empty):
        try:
            stacked = np.stack([sample.get(name, empty.get(name)) for sample in arrays])
        except ValueError:
            sizes = sorted({sample["rgb"].shape[:2] for sample in arrays})
            message = "samples differ in size: " + ", ".join(f"{h}x{w}" for h, w in sizes)
            raise UserError(message, file=file, hint="give size=(height, width)") from None
        batch[name] = torch.from_numpy(stacked)
    return batch
