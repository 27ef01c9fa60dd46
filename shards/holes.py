"""Fill pixels without ground truth, such as those of a sparse depth map or a void region, with a teacher's labels."""

from collections.abc import Iterable, Mapping

import numpy as np

from shards.labels import WEIGHT, absent_value
from shards.soft import MEMBER as SOFT
from shards.tasks import Task

FILL = "fill"
"""``TASK.fill`` is a pseudo-label that is kept next to the ground truth until both are of one size."""


def fill_holes(arrays: Mapping[str, np.ndarray], tasks: Iterable[Task]) -> dict[str, np.ndarray]:
    """Return a frame's arrays with pseudo-labels at the pixels that ground truth leaves unlabelled.

    Ground truth always wins: its pixels keep their value, have full weight, and no soft label.

    Args:
        arrays: arrays by name, all of one height and width, with ``TASK.fill`` next to those of ``TASK``.
        tasks: tasks that may have such a pseudo-label.
    """
    arrays = dict(arrays)
    for task in tasks:
        pseudo = arrays.pop(f"{task.name}.{FILL}", None)
        if pseudo is None:
            continue
        label = arrays[task.name]
        labelled = task.storage.labelled(label)
        arrays[task.name] = np.where(labelled[..., None] if label.ndim > 2 else labelled, label, pseudo)
        for name in (f"{task.name}.{SOFT}", f"{task.name}.{WEIGHT}"):
            if (plane := arrays.get(name)) is not None:
                arrays[name] = np.where(labelled[..., None], plane.dtype.type(absent_value(name)), plane)
    return arrays
