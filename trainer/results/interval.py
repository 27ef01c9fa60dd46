"""How sure a mean over seeds is: Student's t-intervals, for single figures and for paired differences.

With three seeds an interval is wide, and that is the truth about three seeds. Two networks of one seed saw the
same budget, order and augmentation, so their difference is taken within a seed before anything is averaged.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t

LEVEL = 0.95
"""Confidence of an interval."""


@dataclass(frozen=True)
class Interval:
    """A mean with the interval that holds the true one at the given confidence, if deviations are normal.

    Args:
        mean: of the values.
        low, high: bounds; infinite where there is only one value.
        deviation: the values' standard deviation (n - 1 in the denominator); 0 for one value.
        count: of the values.
    """

    mean: float
    low: float
    high: float
    deviation: float
    count: int

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on one side of zero, else 0: undetermined."""
        return (self.low > 0) - (self.high < 0)


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t-interval of a mean.

    Raises:
        ValueError: without values.
    """
    count = len(values)
    if not count:
        raise ValueError("no values")
    mean = statistics.fmean(values)
    if count == 1:
        return Interval(mean, -math.inf, math.inf, 0.0, 1)
    deviation = statistics.stdev(values)
    reach = float(t.ppf((1 + level) / 2, count - 1)) * deviation / math.sqrt(count)
    return Interval(mean, mean - reach, mean + reach, deviation, count)


def paired(ones: Mapping[int, float], others: Mapping[int, float], level: float = LEVEL) -> Interval:
    """The interval of ``one - other`` over the seeds that both have.

    Args:
        ones, others: a figure by seed.

    Raises:
        ValueError: when they share no seed.
    """
    return interval([ones[seed] - others[seed] for seed in sorted(ones.keys() & others.keys())], level)


def needed(found: Interval, level: float = LEVEL, most: int = 1000) -> int | None:
    """How many values in all would put zero outside the interval, if mean and deviation stayed what they are.

    Returns:
        None when more than ``most`` would be needed, or one value says nothing of the deviation.
    """
    if found.count < 2 or not found.mean:
        return None
    for count in range(found.count, most + 1):
        if float(t.ppf((1 + level) / 2, count - 1)) * found.deviation / math.sqrt(count) < abs(found.mean):
            return count
    return None
