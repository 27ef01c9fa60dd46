"""Pixels without ground truth, in frames that have some: a sparse depth map, a void region. A teacher can fill them."""

from collections.abc import Iterable, Mapping

import numpy as np

from shards.labels import WEIGHT
from shards.soft import MEMBER as SOFT
from shards.soft import STEPS
from shards.tasks import Task

FILL = "fill"
"""``TASK.fill`` is a pseudo-label that stands beside ground truth until both are of one size."""


def filled(arrays: Mapping[str, np.ndarray], tasks: Iterable[Task]) -> dict[str, np.ndarray]:
    """A frame's arrays with pseudo-labels in the place of what ground truth does not label.

    Ground truth always wins: its pixels keep their value, weigh fully, and have no soft label.

    Args:
        arrays: by name, all of one height and width; ``TASK.fill`` beside those of ``TASK``.
        tasks: those that may have one.
    """
    arrays = dict(arrays)
    for task in tasks:
        pseudo = arrays.pop(f"{task.name}.{FILL}", None)
        if pseudo is None:
            continue
        label = arrays[task.name]
        known = task.storage.labelled(label)
        arrays[task.name] = np.where(known[..., None] if label.ndim > 2 else known, label, pseudo)
        for member, value in ((SOFT, 0), (WEIGHT, STEPS)):
            plane = arrays.get(f"{task.name}.{member}")
            if plane is not None:
                arrays[f"{task.name}.{member}"] = np.where(known[..., None], plane.dtype.type(value), plane)
    return arrays
