"""Statistics of a task's labels over many frames: class counts, ranges, means.

They are computed while a shard is written and stored in its index, so that `inspect` and the normalisation of inputs
need not decode the data again.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shards.tasks import Task


def merge(task: "Task", parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the statistics of several parts; without any, all values are zero."""
    total = task.storage.statistics(task.storage.empty(0, 0)) | {"frames": 0}
    for part in parts:
        for key, value in part.items():
            if key not in total:
                total[key] = value
            elif isinstance(value, list):
                total[key] = [a + b for a, b in zip(total[key], value, strict=True)]
            elif key in ("min", "max"):
                limits = [v for v in (total[key], value) if v is not None]
                total[key] = (min if key == "min" else max)(limits) if limits else None
            else:
                total[key] += value
    return total


def merge_samples(tasks: "Sequence[Task]", samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the statistics of samples into one entry for each task."""
    return {task.name: merge(task, [s[task.name] for s in samples if task.name in s]) for task in tasks}


def mean_and_deviation(statistics: Mapping[str, Any]) -> tuple[float, float]:
    """Return the mean and standard deviation of a scalar task's labelled pixels; (0, 1) where there are none."""
    pixels = statistics["pixels"]
    if not pixels:
        return 0.0, 1.0
    mean = statistics["sum"] / pixels
    variance = max(statistics["squares"] / pixels - mean**2, 0.0)
    return mean, math.sqrt(variance) or 1.0
