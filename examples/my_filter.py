"""Filters of pseudo-labels of one's own: ``pseudo.semseg.keep: my_filter:flexible`` or ``my_filter:ramp``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shards.keep import HUNDREDTHS
from shards.tasks import Task

THRESHOLD = 0.9


def flexible(task: Task, label: np.ndarray, confidence: np.ndarray, statistics: Mapping[str, Any]) -> np.ndarray:
    """A mask: pixels above a threshold of their class, lower for classes that the teacher is seldom sure of.

    Zhang et al., "FlexMatch" (NeurIPS 2021): with β, how many pixels of a class are above the threshold in proportion
    to the class with the most, it is multiplied by β / (2 - β).
    """
    counts = np.reshape(statistics["confidence"], (task.storage.groups, HUNDREDTHS))
    sure = counts[:, round(THRESHOLD * HUNDREDTHS) :].sum(1)
    beta = sure / max(sure.max(), 1)
    limits = THRESHOLD * beta / (2 - beta)
    return confidence > limits[task.storage.group_of(label)]


def ramp(task: Task, label: np.ndarray, confidence: np.ndarray, statistics: Mapping[str, Any]) -> np.ndarray:
    """Weights: 1 from the threshold on, and below it in proportion to the confidence."""
    return np.minimum(confidence / THRESHOLD, 1)
