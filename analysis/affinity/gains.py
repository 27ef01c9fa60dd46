"""Conclusions from measured gains: how two tasks help each other, how certain that is, and which teacher to train.

The paper asks of two tasks whether each one's labels, as inputs, help to predict the other, and names the answers
Conditions: 1, both help; 2 and its mirror, one does; 3, none. Whether it is 2 or its mirror depends on which task is
called the first, and the paper's definition and conclusion differ in that, so both are described in words here.

**Hypotheses.** A source helps if its gain is shown to be above zero. It does not help if its gain is shown to be below
:data:`LEAST`: no number of seeds could show a gain of exactly zero, but enough of them can show that it is too small to
be worth labelling for. Everything else is undetermined. All pairs are tested together (Holm).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from analysis.results.headlines import SMALLER_IS_BETTER, headline_of, signed
from analysis.results.interval import LEVEL, Interval, holm, interval, p_above, p_below, paired_interval, values_needed
from shards.errors import UserError
from shards.keep import ALL
from shards.tasks import Task
from trainer.affinity import Recommendation, Verdict
from trainer.sections import Pseudo

Scores = Mapping[int, float]
"""A metric by seed."""
Condition = Literal["1", "one way", "3", "undetermined"]

LEAST = 0.01
"""The smallest gain that counts, as a fraction of the RGB-only network's metric."""
FLOOR = 1e-3
"""Smaller metrics are raised to this in ratios: 0.1 points of mIoU, a millimetre, a thousandth of a degree."""


@dataclass(frozen=True)
class Gain:
    """The gain of a target from a source's label as an input beside RGB, measured on the evaluation frames.

    Args:
        source, target: names of tasks.
        absolute: improvement in the metric's own unit, positive where it helps, whichever direction is better.
        logs: logarithm of the ratio of the two metrics, positive where it helps.
        smaller_is_better: whether that holds for the target's metric.
        p: two-sided, adjusted for all pairs that are tested together; None if this pair is tested alone.
        tests: number of pairs tested together.
    """

    source: str
    target: str
    absolute: Interval
    logs: Interval
    smaller_is_better: bool = False
    p: float | None = None
    tests: int = 1

    @property
    def relative(self) -> Interval:
        """The gain as a fraction of the RGB-only network's metric, so that tasks of different kinds can be compared:
        geometric mean over seeds, and its interval. The deviation is that of the logarithms."""
        if self.logs.count < 2:
            return replace(self.logs, mean=self._part(self.logs.mean))
        mean, low, high = (self._part(log) for log in (self.logs.mean, self.logs.low, self.logs.high))
        return replace(self.logs, mean=mean, low=low, high=high)

    def _part(self, log: float) -> float:
        return -math.expm1(-log) if self.smaller_is_better else math.expm1(log)

    @property
    def least(self) -> float:
        """:data:`LEAST` as a logarithm."""
        return -math.log1p(-LEAST) if self.smaller_is_better else math.log1p(LEAST)

    @property
    def p_alone(self) -> float:
        """Unadjusted two-sided p: of helping or of not helping, whichever is smaller."""
        return min(1.0, 2 * min(p_above(self.logs), p_below(self.logs, self.least)))

    @property
    def helps(self) -> bool | None:
        """Whether the source helps; None if undetermined. A gain that is above zero but shown to be below
        :data:`LEAST` does not count as help."""
        if (self.p_alone if self.p is None else self.p) > 1 - LEVEL:
            return None
        adjustment = self.p / self.p_alone if self.p and self.p_alone else 1.0
        small = 2 * p_below(self.logs, self.least) * adjustment <= 1 - LEVEL
        return not small and p_above(self.logs) < p_below(self.logs, self.least)

    @property
    def seeds_needed(self) -> int | None:
        """Number of seeds with which a new study would determine it with a power of 80 %, given this mean and
        deviation; None if over a thousand, or if there is only one seed and so no deviation."""
        above = values_needed(self.logs, self.tests) if self.logs.mean > 0 else None
        short = replace(self.logs, mean=self.logs.mean - self.least)
        below = values_needed(short, self.tests) if short.mean < 0 else None
        return min((count for count in (above, below) if count), default=None)

    def __str__(self) -> str:
        verb = {True: "helps", False: "does not help", None: "may help"}[self.helps]
        return f"{self.source} {verb} {self.target}: {percent(self.relative)}"


def gain(source: str, target: Task, seeing: Scores, alone: Scores) -> Gain:
    """Compute the gain from the metrics by seed of networks that see the source's label and of those that do not.

    Raises:
        UserError: when the metrics of the latter are all zero.
    """
    metric = headline_of(target)
    smaller = metric in SMALLER_IS_BETTER
    better, worse = (alone, seeing) if smaller else (seeing, alone)
    seeds = sorted(better.keys() & worse.keys())
    if not any(alone[seed] for seed in seeds):
        message = f"networks that see RGB alone reach 0 in {metric}, so that there is no relative gain"
        raise UserError(message, key=target.name, hint="train longer (train.steps)")
    logs = interval([math.log(max(better[seed], FLOOR) / max(worse[seed], FLOOR)) for seed in seeds])
    return Gain(source, target.name, paired_interval(better, worse), logs, smaller)


def adjust_p_values(gains: Iterable[Gain]) -> dict[tuple[str, str], Gain]:
    """Return the gains by source and target, with p values adjusted for all of them at once (Holm)."""
    pairs = list(gains)
    adjusted = holm([pair.p_alone for pair in pairs])
    return {
        (pair.source, pair.target): replace(pair, p=p, tests=len(pairs))
        for pair, p in zip(pairs, adjusted, strict=True)
    }


def verdict(forward: Gain, backward: Gain) -> Verdict:
    """Return the verdict on two tasks; ``forward`` is the gain from the first to the second."""
    task_a, task_b = forward.source, forward.target
    undetermined = [gain for gain in (forward, backward) if gain.helps is None]
    if undetermined:
        seeds = [gain.seeds_needed for gain in undetermined]
        most = max(count for count in seeds if count) if all(seeds) else None
        return _verdict(task_a, task_b, "undetermined", f"{_one_direction(forward)}; {_one_direction(backward)}", most)
    if forward.helps and backward.helps:
        return _verdict(task_a, task_b, "1", f"{task_a} and {task_b} help each other", 0)
    if not forward.helps and not backward.helps:
        return _verdict(task_a, task_b, "3", f"neither of {task_a} and {task_b} helps the other", 0)
    first, second = sorted((forward, backward), key=lambda gain: not gain.helps)
    return _verdict(task_a, task_b, "one way", f"{_one_direction(first)}; {_one_direction(second)}", 0)


def _verdict(task_a: str, task_b: str, condition: Condition, words: str, seeds_needed: int | None) -> Verdict:
    return Verdict(one=task_a, other=task_b, condition=condition, words=words, seeds_needed=seeds_needed)


def _one_direction(gain: Gain) -> str:
    if gain.helps is not None:
        return f"{gain.source} {'helps' if gain.helps else 'does not help'} {gain.target}"
    if gain.logs.count < 2:
        return f"whether {gain.source} helps {gain.target} takes more than one seed"
    return f"whether {gain.source} helps {gain.target}, {gain.seeds_needed or 'more than a thousand'} seeds would tell"


def verdicts(gains: Mapping[tuple[str, str], Gain], tasks: list[str]) -> list[Verdict]:
    """Return the verdict on every pair of tasks."""
    return [verdict(gains[task_a, task_b], gains[task_b, task_a]) for task_a, task_b in combinations(tasks, 2)]


def recommend(
    gains: Mapping[tuple[str, str], Gain], tasks: tuple[Task, ...], frames: Mapping[tuple[str, str], int]
) -> dict[str, Recommendation]:
    """Recommend a teacher for each task's pseudo-labels, as :mod:`trainer.recommendation` applies it.

    It is the source with the largest gain among those that are shown to help and that some frame shows without the
    target. Several sources at once are not recommended, since their joint gain was not measured.

    Args:
        gains: by source and target.
        tasks: all of them.
        frames: by source and target, number of training frames that show the source and lack the target.
    """
    return {task.name: _recommend(task, gains, frames) for task in tasks}


def _recommend(
    target: Task, gains: Mapping[tuple[str, str], Gain], frames: Mapping[tuple[str, str], int]
) -> Recommendation:
    candidates = [gain for pair, gain in gains.items() if pair[1] == target.name and frames[pair]]
    if not candidates:
        return Recommendation(None, ALL, "no frame lacks it and shows another task")
    helpful = [gain for gain in candidates if gain.helps]
    if not helpful:
        return Recommendation(None, ALL, "; ".join(map(str, candidates)))
    best = max(helpful, key=lambda gain: gain.relative.mean)
    keep = Pseudo.keep if target.storage.confident else ALL  # other kinds have no confidence
    reason = f"{best}; {frames[best.source, target.name]} frames show {best.source} alone"
    return Recommendation(["rgb", best.source], keep, reason)


def percent(relative: Interval) -> str:
    """Format a relative gain with its interval, in percent: ``+12.3 % (+3.1 to +21.5)``."""
    mean, low, high = (signed(100 * value, 1) for value in (relative.mean, relative.low, relative.high))
    return f"{mean} % (one seed)" if relative.count < 2 else f"{mean} % ({low} to {high})"
