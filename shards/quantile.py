"""The confidences above which a share of every class lies, from counts that are finer near 1.

Softmax gives most pixels of a trained teacher a confidence within the last hundredth. It is counted once more, in bins
whose distance to 1 grows by an eighth of an octave; the steps next to 1, as confidences are stored, have bins of their
own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from shards.codec import CONFIDENCE_STEPS
from shards.keep import HUNDREDTHS
from shards.tasks import Task

COUNTS = "confidence"
"""Key, in a manifest's statistics of a task, of the number of pixels by class and hundredth of confidence."""
COUNTS_NEAR_1 = "confidence_near_1"
"""Key of the number of pixels of the last hundredth by class and bin of :data:`STEPS_TO_1`, highest first; labels of
earlier versions have none."""
_LAST = CONFIDENCE_STEPS // HUNDREDTHS
STEPS_TO_1 = np.array(sorted({min(round(2 ** (n / 8)), _LAST) for n in range(73)}))
"""Where the bins near 1 end: their distance to 1, in steps of a stored confidence."""
_BINS = np.searchsorted(STEPS_TO_1, np.arange(_LAST), side="right")
"""The bin of each distance; looked up, since it is needed for every pixel of a teacher that is sure."""


def counts_near_1(task: Task, label: np.ndarray, confidence: np.ndarray) -> list[int]:
    """Count a frame's pixels within the last hundredth of confidence by class and bin, flattened."""
    steps = confidence.astype(np.float64) * CONFIDENCE_STEPS
    last = steps > CONFIDENCE_STEPS - _LAST
    below_top = np.maximum(CONFIDENCE_STEPS - np.ceil(steps[last]), 0).astype(np.intp)
    groups = np.broadcast_to(task.storage.group_of(label), last.shape)[last]
    flat = groups * len(STEPS_TO_1) + _BINS[below_top]
    return np.bincount(flat, minlength=task.storage.groups * len(STEPS_TO_1)).tolist()


def quantile_limits(statistics: Mapping[str, Any], quantile: float) -> tuple[np.ndarray, float | None]:
    """Return the confidence of each class above which at least a share of its pixels lies, as the counts tell it.

    Args:
        statistics: those of a task's labels, with :data:`COUNTS`.
        quantile: the share, 0 to 1.

    Returns:
        The limits, ``(classes,)`` float32, and the share of all pixels that lies above them, None without any pixel: it
        is larger than the quantile where confidences cannot be told apart.
    """
    by_class = np.asarray(statistics[COUNTS], np.int64).reshape(-1, HUNDREDTHS)
    lower = np.arange(HUNDREDTHS) / HUNDREDTHS
    near = np.asarray(statistics.get(COUNTS_NEAR_1, ()), np.int64)
    if near.size == len(by_class) * len(STEPS_TO_1):
        near = near.reshape(len(by_class), -1)
        if (near.sum(1) == by_class[:, -1]).all():  # else an earlier version labelled some of the shards
            by_class = np.hstack([by_class[:, :-1], near[:, ::-1]])
            lower = np.concatenate([lower[:-1], 1 - STEPS_TO_1[::-1] / CONFIDENCE_STEPS])
    above = np.cumsum(by_class[:, ::-1], axis=1)[:, ::-1]  # pixels of each bin and all higher ones
    chosen = (above >= quantile * above[:, :1]).sum(1) - 1
    kept, total = above[np.arange(len(above)), chosen].sum(), above[:, 0].sum()
    return lower[chosen].astype(np.float32), float(kept / total) if total else None
