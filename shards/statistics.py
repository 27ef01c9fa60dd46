"""What a task's labels look like over many frames: class counts, ranges, means.

Taken while a shard is written and kept in its index, so that `inspect` and the normalisation of inputs need
not decode the data again.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from shards.tasks import IGNORE, Task


def of_label(task: Task, label: np.ndarray) -> dict[str, Any]:
    """Statistics of one label array, as JSON values.

    ``classes``: ``pixels`` per class and of ``ignore``. ``metric``: labelled ``pixels``, ``missing`` ones, and of
    the labelled values ``sum``, ``squares``, ``min``, ``max``, in the task's unit. ``unit_vector``: ``pixels``,
    ``missing``.
    """
    if task.kind == "classes":
        counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
        return {"frames": 1, "pixels": counts[: len(task.classes)].tolist(), "ignore": int(counts[IGNORE])}
    measured = label > 0 if task.kind == "metric" else np.any(label != 0, axis=-1)
    pixels = int(measured.sum())
    entry: dict[str, Any] = {"frames": 1, "pixels": pixels, "missing": measured.size - pixels}
    if task.kind == "metric":
        values = label[measured].astype(np.float64)
        entry |= {"sum": float(values.sum()), "squares": float(np.square(values).sum())}
        entry |= {"min": float(values.min()), "max": float(values.max())} if pixels else {"min": None, "max": None}
    return entry


def merge(task: Task, parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The statistics of all parts together; of no part, zeros."""
    total = of_label(task, _nothing(task)) | {"frames": 0}
    for part in parts:
        for key, value in part.items():
            if key not in total:
                total[key] = value
            elif isinstance(value, list):
                total[key] = [a + b for a, b in zip(total[key], value, strict=True)]
            elif key in ("min", "max"):
                known = [v for v in (total[key], value) if v is not None]
                total[key] = (min if key == "min" else max)(known) if known else None
            else:
                total[key] += value
    return total


def mean_and_deviation(statistics: Mapping[str, Any]) -> tuple[float, float]:
    """Mean and standard deviation of a metric task's labelled pixels; (0, 1) where there are none."""
    pixels = statistics["pixels"]
    if not pixels:
        return 0.0, 1.0
    mean = statistics["sum"] / pixels
    variance = max(statistics["squares"] / pixels - mean**2, 0.0)
    return mean, math.sqrt(variance) or 1.0


def _nothing(task: Task) -> np.ndarray:
    if task.kind == "classes":
        return np.zeros(0, np.uint8)
    return np.zeros((0, 3) if task.kind == "unit_vector" else 0, np.float32)
