"""Custom filters of pseudo-labels: ``pseudo.semseg.keep: my_filter:flexible`` or ``my_filter:ramp``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shards.keep import HUNDREDTHS
from shards.tasks import Task

THRESHOLD = 0.9


def flexible(task: Task, label: np.ndarray, confidence: np.ndarray, statistics: Mapping[str, Any]) -> np.ndarray:
    """Return a mask of the pixels above a threshold of their class, lower for classes with seldom high confidence.

    Zhang et al., "FlexMatch" (NeurIPS 2021): the threshold is multiplied by β / (2 - β), where β is the number of
    pixels of a class above the threshold in proportion to the class with the most.
    """
    counts = np.reshape(statistics["confidence"], (task.storage.groups, HUNDREDTHS))
    confident = counts[:, round(THRESHOLD * HUNDREDTHS) :].sum(1)
    beta = confident / max(confident.max(), 1)
    limits = THRESHOLD * beta / (2 - beta)
    return confidence > limits[task.storage.group_of(label)]


def ramp(task: Task, label: np.ndarray, confidence: np.ndarray, statistics: Mapping[str, Any]) -> np.ndarray:
    """Return weights: 1 from the threshold on, and below it in proportion to the confidence."""
    return np.minimum(confidence / THRESHOLD, 1)
