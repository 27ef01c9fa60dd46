"""With how many labels a baseline would be as good as a student: its curve, interpolated between what was measured.

Between two budgets the baseline's metric is taken to change in proportion to the logarithm of the number of labels,
which is how networks gain from labels over such ranges. Nothing is said of what lies beyond the smallest and the
largest budget: there the answer is "fewer than" or "more than".
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
        labels: how many, not rounded.
        beyond: 1 where it is more than these, the most that were measured; -1 where it is fewer than these, the
            fewest; else 0.
    """

    labels: float
    beyond: int = 0


@dataclass(frozen=True)
class Saved:
    """What a student's labels are worth.

    Args:
        labels: those that the student had.
        mean: those with which the baseline's mean over seeds is the student's.
        seeds: the same for each seed by itself.
        low, high: 95 % interval of the geometric mean of the seeds' numbers; None for one seed, or where one of them
            lies beyond what was measured.
    """

    labels: int
    mean: Equivalent
    seeds: Mapping[int, Equivalent] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None

    @property
    def factor(self) -> float:
        """Labels that the baseline needs for each of the student's, at least where that is beyond what was measured."""
        return self.mean.labels / self.labels


def equivalent(
    baseline: Mapping[int, float], labels: int, value: float, *, smaller_is_better: bool = False
) -> Equivalent | None:
    """The labels with which the baseline reaches a value that a student has with ``labels``.

    It is looked for from ``labels`` on, up where the student is ahead there and down where it is behind, so that a
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
        rest = sign * (value - baseline[far])
        if rest <= 0 if ahead else rest >= 0:
            share = (value - baseline[near]) / (baseline[far] - baseline[near])
            return Equivalent(math.exp(math.log(near) + share * (math.log(far) - math.log(near))))
    return Equivalent(float(path[-1]), 1 if ahead else -1)


def saved(
    baseline: Mapping[int, Mapping[int, float]],
    labels: int,
    student: Mapping[int, float],
    *,
    smaller_is_better: bool = False,
) -> Saved | None:
    """What a student's ``labels`` are worth, over seeds.

    Args:
        baseline: its metric by number of labels and seed.
        student: its metric by seed.

    Returns:
        None where no seed has both networks with ``labels``.
    """
    shared = sorted(student.keys() & baseline.get(labels, {}).keys())
    if not shared:
        return None
    # a budget counts where it has all of the seeds, so that no step of the curve is one between seeds
    whole = {n: of for n, of in baseline.items() if of.keys() >= {*shared}}
    means = {n: sum(of[seed] for seed in shared) / len(shared) for n, of in whole.items()}
    value = sum(student[seed] for seed in shared) / len(shared)
    mean = equivalent(means, labels, value, smaller_is_better=smaller_is_better)
    found = {}
    for seed in shared:
        own = {n: of[seed] for n, of in whole.items()}
        found[seed] = equivalent(own, labels, student[seed], smaller_is_better=smaller_is_better)
    seeds = {seed: each for seed, each in found.items() if each is not None}
    assert mean is not None, "the budget itself is one of those with all seeds"
    if len(seeds) < 2 or any(each.beyond for each in seeds.values()):
        return Saved(labels, mean, seeds)
    logs = interval([math.log(each.labels) for each in seeds.values()])
    return Saved(labels, mean, seeds, math.exp(logs.low), math.exp(logs.high))
