"""Counts how many pseudo-labels a threshold keeps, for all thresholds and classes at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import read_json, write_json
from shards.keep import HUNDREDTHS
from shards.manifest import same_json
from shards.quantile import COUNTS as CONFIDENCE
from shards.tasks import Task

BINS = HUNDREDTHS
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def column(threshold: float) -> int:
    """Return the first bin above a threshold, which is rounded down to a hundredth."""
    return int(threshold * BINS + 1e-6)


def confidence_counts(task: Task, label: np.ndarray, confidence: np.ndarray) -> list[int]:
    """Count the pixels of each class (all pixels for kinds without classes) by confidence: class × bin, flat. Bin b
    counts those in ``(b, b + 1] / 100``."""
    flat = task.storage.group_of(label) * BINS + bins(confidence)
    return np.bincount(flat.ravel(), minlength=task.storage.groups * BINS).tolist()


def bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence."""
    return np.clip(np.ceil(confidence.astype(np.float64) * BINS) - 1, 0, BINS - 1).astype(np.int64)


def summary(task: Task, statistics: dict[str, Any], threshold: float) -> dict[str, Any]:
    """Return a task's entry in ``kept.json``.

    Returns:
        ``frames`` and ``pixels`` labelled; for a task with a confidence also ``threshold`` (rounded down to a
        hundredth, as pixels are counted), the ``kept`` fraction above it, ``kept_by_class`` (None for a class that was
        never predicted), and ``kept_by_threshold``.
    """
    pixels = statistics["pixels"]
    entry = {"frames": statistics["frames"], "pixels": sum(pixels) if isinstance(pixels, list) else pixels}
    if CONFIDENCE not in statistics:
        return entry
    counts = np.asarray(statistics[CONFIDENCE]).reshape(task.storage.groups, BINS)

    def above(limit: float) -> np.ndarray:
        return counts[:, column(limit) :].sum(1)

    pixels_by_class = counts.sum(1)
    threshold = column(threshold) / BINS
    above_by_class = above(threshold)
    kept_by_class = {
        name: float(above_by_class[number] / pixels_by_class[number]) if pixels_by_class[number] else None
        for number, name in enumerate(task.storage.group_names)
    }
    total = max(int(pixels_by_class.sum()), 1)
    return entry | {
        "threshold": threshold,
        "kept": float(above_by_class.sum() / total),
        "kept_by_class": kept_by_class,
        "kept_by_threshold": {str(limit): float(above(limit).sum() / total) for limit in THRESHOLDS},
    }


def write_kept(
    folder: Path, tasks: Sequence[Task], statistics: Mapping[str, dict[str, Any]], threshold: float
) -> dict[str, Any]:
    """Write ``kept.json`` beside label shards, unless it is up to date, and return its content: a :func:`summary` by
    task.

    Args:
        folder: the label shards' folder.
        tasks: the labelled tasks.
        statistics: the shards' statistics, by task.
        threshold: a confidence. The labels do not depend on it.
    """
    path = folder / "kept.json"
    kept = {task.name: summary(task, statistics[task.name], threshold) for task in tasks}
    if not path.exists() or not same_json(read_json(path, "delete it"), kept):
        write_json(path, kept)
    return kept
