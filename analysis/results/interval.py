"""Uncertainty of means over seeds: Student's t-intervals of single metrics and of paired differences, multiple tests,
and the number of seeds that a study needs.

With three seeds an interval is wide, as it should be. Two networks of one seed see the same budget, order and
augmentation, so their difference is taken within a seed before it is averaged.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.stats import nct, t

from trainer.affinity import Bounds

LEVEL = 0.95
"""Confidence of an interval, and of all verdicts of a table together."""
POWER = 0.8
"""Statistical power for which the number of seeds needed is computed."""
FIXED_SEEDS_NOTE = (
    "fix the number of seeds before you look: adding some until a verdict appears makes false ones several times as "
    "frequent"
)
"""The note beside all verdicts."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval, assuming normal deviations.

    Args:
        mean: mean of the values.
        low, high: bounds; infinite for a single value.
        deviation: the values' standard deviation (n - 1 in the denominator); 0 for a single value.
        count: number of values.
    """

    mean: float
    low: float
    high: float
    deviation: float
    count: int

    @property
    def sign(self) -> int:
        """1 or -1 if the whole interval lies on one side of zero, else 0: undetermined."""
        return (self.low > 0) - (self.high < 0)


def bounds(interval: Interval) -> Bounds:
    """Return an interval as files hold it: with None for infinite bounds, which JSON cannot express."""
    low, high = (value if math.isfinite(value) else None for value in (interval.low, interval.high))
    return Bounds(interval.mean, low, high, interval.deviation, interval.count)


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return Student's t-interval of the mean of some values.

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


def paired_interval(
    values: Mapping[int, float], reference_values: Mapping[int, float], level: float = LEVEL
) -> Interval:
    """Return the interval of ``values - reference_values`` over the seeds that both have.

    Args:
        values, reference_values: by seed.

    Raises:
        ValueError: when they share no seed.
    """
    return interval(
        [values[seed] - reference_values[seed] for seed in sorted(values.keys() & reference_values.keys())], level
    )


def p_above(interval: Interval, bound: float = 0.0) -> float:
    """Return the one-sided p of a mean as large as this one if the true mean is at most ``bound`` (Student's t-test);
    1 for a single value."""
    if interval.count < 2:
        return 1.0
    if not interval.deviation:
        return float(interval.mean <= bound)
    return float(t.sf((interval.mean - bound) * math.sqrt(interval.count) / interval.deviation, interval.count - 1))


def p_below(interval: Interval, bound: float = 0.0) -> float:
    """Return the one-sided p of a mean as small as this one if the true mean is at least ``bound``."""
    return p_above(replace(interval, mean=-interval.mean), -bound)


def p_two_sided(interval: Interval) -> float:
    """Return the two-sided p against a true mean of zero: below 1 - level if the interval excludes zero."""
    return min(1.0, 2 * min(p_above(interval), p_below(interval)))


def holm(values: Sequence[float]) -> list[float]:
    """Return adjusted p values of a family of tests. At most a fraction 1 - :data:`LEVEL` of such families has a false
    rejection at 1 - :data:`LEVEL`, for any dependence between the tests (Holm, "A Simple Sequentially Rejective
    Multiple Test Procedure", 1979)."""
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def power(interval: Interval, count: int, tests: int = 1) -> float:
    """Return the power of a two-sided test of ``count`` new values to reject a mean of zero with the right sign, if
    the true mean and deviation are those of ``interval`` (noncentral t distribution).

    Args:
        tests: size of the family of tests; the first rejection of Holm's method requires (1 - level) / tests.
    """
    if not interval.deviation:
        return float(interval.mean != 0)
    critical = t.isf((1 - LEVEL) / 2 / tests, count - 1)
    return float(nct.sf(critical, count - 1, abs(interval.mean) / interval.deviation * math.sqrt(count)))


def values_needed(interval: Interval, tests: int = 1, most: int = 1000) -> int | None:
    """Return the number of values that a new study needs for a :func:`power` of :data:`POWER`.

    Returns:
        None if more than ``most`` would be needed, or for a single value, which has no deviation.
    """
    if interval.count < 2 or power(interval, most, tests) < POWER:
        return None
    return bisect_left(range(most), POWER, lo=2, key=lambda count: power(interval, count, tests))
