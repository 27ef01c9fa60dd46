"""The number of labels with which a baseline would match a student, by interpolation of the baseline's curve.

Between two budgets the baseline's metric is assumed to change in proportion to the logarithm of the number of labels,
which is how networks gain from labels over such ranges. There is no extrapolation beyond the smallest and the largest
budget: there the answer is "fewer than" or "more than".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from analysis.results.interval import interval


@dataclass(frozen=True)
class Equivalent:
    """A number of labels.

    Args:
        labels: the number, not rounded.
        beyond: 1 if the true number is larger than the largest measured budget, which ``labels`` then is; -1 if it is
            smaller than the smallest; else 0.
    """

    labels: float
    beyond: int = 0


@dataclass(frozen=True)
class LabelSavings:
    """The number of baseline labels that a student's labels are worth.

    Args:
        labels: number of labels of the student.
        mean: number with which the baseline's mean over seeds equals the student's.
        seeds: the same for each seed separately.
        low, high: 95 % interval of the geometric mean of the seeds' numbers, as far as budgets were measured; None for
            one seed, or where one of them lies beyond these.
    """

    labels: int
    mean: Equivalent
    seeds: Mapping[int, Equivalent] = field(default_factory=dict)
    low: Equivalent | None = None
    high: Equivalent | None = None

    @property
    def factor(self) -> float:
        """Baseline labels per label of the student; a bound where that is beyond the measured budgets."""
        return self.mean.labels / self.labels


def equivalent(
    baseline: Mapping[int, float], labels: int, value: float, *, smaller_is_better: bool = False
) -> Equivalent | None:
    """Return the number of labels with which the baseline reaches the value of a student with ``labels``.

    The search starts at ``labels`` and goes up where the student is ahead there and down where it is behind, so that a
    curve that is not monotone does not turn a lead into a loss.

    Args:
        baseline: a metric by number of labels.

    Returns:
        None where the baseline was not measured with ``labels``.
    """
    if labels not in baseline:
        return None
    sign = -1 if smaller_is_better else 1
    lead = sign * (value - baseline[labels])
    if lead == 0:
        return Equivalent(float(labels))
    ahead = lead > 0
    path = sorted((n for n in baseline if (n >= labels if ahead else n <= labels)), reverse=not ahead)
    for near, far in pairwise(path):
        remaining = sign * (value - baseline[far])
        if remaining <= 0 if ahead else remaining >= 0:
            share = (value - baseline[near]) / (baseline[far] - baseline[near])
            return Equivalent(math.exp(math.log(near) + share * (math.log(far) - math.log(near))))
    return Equivalent(float(path[-1]), 1 if ahead else -1)


def label_savings(
    baseline: Mapping[int, Mapping[int, float]],
    labels: int,
    student: Mapping[int, float],
    *,
    smaller_is_better: bool = False,
) -> LabelSavings | None:
    """Return what a student's ``labels`` are worth, over seeds.

    Args:
        baseline: its metric by number of labels and seed.
        student: its metric by seed.

    Returns:
        None where no seed has both networks with ``labels``.
    """
    shared = sorted(student.keys() & baseline.get(labels, {}).keys())
    if not shared:
        return None
    # only budgets with all of the seeds count, so that no step of the curve is a change of seeds
    complete = {n: values for n, values in baseline.items() if values.keys() >= {*shared}}
    means = {n: sum(values[seed] for seed in shared) / len(shared) for n, values in complete.items()}
    value = sum(student[seed] for seed in shared) / len(shared)
    mean = equivalent(means, labels, value, smaller_is_better=smaller_is_better)
    by_seed = {}
    for seed in shared:
        curve = {n: values[seed] for n, values in complete.items()}
        by_seed[seed] = equivalent(curve, labels, student[seed], smaller_is_better=smaller_is_better)
    seeds = {seed: number for seed, number in by_seed.items() if number is not None}
    assert mean is not None, "the budget itself is one of those with all seeds"
    if len(seeds) < 2 or any(number.beyond for number in seeds.values()):
        return LabelSavings(labels, mean, seeds)
    logs = interval([math.log(number.labels) for number in seeds.values()])
    low, high = (_clip(math.exp(bound), min(complete), max(complete)) for bound in (logs.low, logs.high))
    return LabelSavings(labels, mean, seeds, low, high)


def _clip(labels: float, smallest: int, largest: int) -> Equivalent:
    """Return a number of labels, or the measured budget that it lies beyond by more than rounding."""
    if labels < smallest:
        return Equivalent(float(smallest), 0 if math.isclose(labels, smallest) else -1)
    if labels > largest:
        return Equivalent(float(largest), 0 if math.isclose(labels, largest) else 1)
    return Equivalent(labels)
