"""How sure a mean over seeds is: Student's t-intervals, for single figures and for paired differences, tests that are
made together, and the number of seeds that a study takes.

With three seeds an interval is wide, and that is the truth about three seeds. Two networks of one seed saw the
same budget, order and augmentation, so their difference is taken within a seed before anything is averaged.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.stats import nct, t

LEVEL = 0.95
"""Confidence of an interval, and of all verdicts that are given together."""
POWER = 0.8
"""How likely as many seeds as are said to tell would tell."""
FIXED = (
    "fix the number of seeds before you look: adding some until a verdict appears makes false ones several times as "
    "frequent"
)
"""What is said wherever verdicts are."""


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


def p_above(found: Interval, bound: float = 0.0) -> float:
    """How likely a mean as large as this is, at most, where the true one is ``bound`` or less: Student's one-sided
    test. 1 where one value says nothing."""
    if found.count < 2:
        return 1.0
    if not found.deviation:
        return float(found.mean <= bound)
    return float(t.sf((found.mean - bound) * math.sqrt(found.count) / found.deviation, found.count - 1))


def p_below(found: Interval, bound: float = 0.0) -> float:
    """The same of a mean as small as this, where the true one is ``bound`` or more."""
    return p_above(replace(found, mean=-found.mean), -bound)


def p_either(found: Interval) -> float:
    """The two-sided p against a true mean of zero: less than 1 - level where the interval leaves zero out."""
    return min(1.0, 2 * min(p_above(found), p_below(found)))


def holm(values: Sequence[float]) -> list[float]:
    """p values of tests that are made together, adjusted so that at most a share of 1 - :data:`LEVEL` of such families
    has a false one among those of 1 - :data:`LEVEL` or less, however they depend on each other (Holm, "A Simple
    Sequentially Rejective Multiple Test Procedure", 1979)."""
    adjusted, most = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        most = max(most, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = most
    return adjusted


def power(found: Interval, count: int, tests: int = 1) -> float:
    """How likely a two-sided test of ``count`` new values would show a true mean to be other than zero, and of the
    right sign, if it and the deviation were those that were found: of the noncentral t distribution.

    Args:
        tests: that are made together; the first of them that Holm's method looks at has to reach (1 - level) / tests.
    """
    if not found.deviation:
        return float(found.mean != 0)
    least = t.isf((1 - LEVEL) / 2 / tests, count - 1)
    return float(nct.sf(least, count - 1, abs(found.mean) / found.deviation * math.sqrt(count)))


def needed(found: Interval, tests: int = 1, most: int = 1000) -> int | None:
    """How many values a new study takes for a :func:`power` of :data:`POWER`.

    Returns:
        None when more than ``most`` would be needed, or one value says nothing of the deviation.
    """
    if found.count < 2 or power(found, most, tests) < POWER:
        return None
    return bisect_left(range(most), POWER, lo=2, key=lambda count: power(found, count, tests))
