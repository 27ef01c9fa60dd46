"""What follows from measured gains: how two tasks help each other, how sure that is, and which teacher to train.

The paper asks of two tasks whether each one's labels, as inputs, help to predict the other, and names the answers
Conditions: 1, both help; 2 and its mirror, one does; 3, none. Which of the two in the middle it is depends on which
task is called the first, and the paper's definition and conclusion differ in that, so here they are said in words.

**Sure of what.** A source helps where its gain is shown to be more than nothing. It does not where its gain is shown to
be less than :data:`LEAST`: no number of seeds could show a gain of exactly nothing, but enough of them can show that it
is less than anybody would label for. Everything else is undetermined. All pairs are tested together (Holm).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from analysis.results.headlines import SMALLER_IS_BETTER, headline_of, signed
from analysis.results.interval import LEVEL, Interval, holm, interval, needed, p_above, p_below, paired
from shards.errors import UserError
from shards.keep import ALL
from shards.tasks import Task
from trainer.affinity import Recommendation, Verdict
from trainer.config import Pseudo

Scores = Mapping[int, float]
"""A figure by seed."""
Condition = Literal["1", "one way", "3", "undetermined"]

LEAST = 0.01
"""The smallest gain that counts, as a part of the RGB-only network's figure."""
FLOOR = 1e-3
"""Figures below this count as this in ratios: 0.1 points of mIoU, a millimetre, a thousandth of a degree."""


@dataclass(frozen=True)
class Gain:
    """What a source's label, as an input beside RGB, brings a target on the frames that judge.

    Args:
        source, target: names of tasks.
        absolute: better − worse, in the metric's own unit: positive where it helps, whichever way the metric goes.
        logs: of the logarithm of the two figures' ratio, positive where it helps.
        smaller_is_better: of the target's metric.
        p: two-sided, adjusted for all pairs that are tested together; None for this one alone.
        tests: how many these are.
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
        """The gain as a part of the RGB-only network's figure, so that tasks of different kinds compare: geometric
        means over seeds, and their interval. The deviation is that of logarithms."""
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
        """Two-sided: that it helps, or that it does not, whichever is surer."""
        return min(1.0, 2 * min(p_above(self.logs), p_below(self.logs, self.least)))

    @property
    def helps(self) -> bool | None:
        """Whether it does; None where that is undetermined. A gain that is more than nothing and surely less than
        :data:`LEAST` does not count."""
        if (self.p_alone if self.p is None else self.p) > 1 - LEVEL:
            return None
        adjustment = self.p / self.p_alone if self.p and self.p_alone else 1.0
        small = 2 * p_below(self.logs, self.least) * adjustment <= 1 - LEVEL
        return not small and p_above(self.logs) < p_below(self.logs, self.least)

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds a new study takes to determine it four times of five, were mean and deviation what they are
        here; None if over a thousand, or if one seed tells nothing of the deviation."""
        above = needed(self.logs, self.tests) if self.logs.mean > 0 else None
        short = replace(self.logs, mean=self.logs.mean - self.least)
        below = needed(short, self.tests) if short.mean < 0 else None
        return min((count for count in (above, below) if count), default=None)

    def __str__(self) -> str:
        verb = {True: "helps", False: "does not help", None: "may help"}[self.helps]
        return f"{self.source} {verb} {self.target}: {percent(self.relative)}"


def gain(source: str, target: Task, seeing: Scores, alone: Scores) -> Gain:
    """The gain from the figures of the networks that see the source's label and of those that do not, by seed.

    Raises:
        UserError: when the figures of the latter are all zero.
    """
    metric = headline_of(target)
    smaller = metric in SMALLER_IS_BETTER
    better, worse = (alone, seeing) if smaller else (seeing, alone)
    seeds = sorted(better.keys() & worse.keys())
    if not any(alone[seed] for seed in seeds):
        what = f"networks that see RGB alone reach 0 in {metric}, of which no gain is a part"
        raise UserError(what, key=target.name, hint="train longer (train.steps)")
    logs = interval([math.log(max(better[seed], FLOOR) / max(worse[seed], FLOOR)) for seed in seeds])
    return Gain(source, target.name, paired(better, worse), logs, smaller)


def together(gains: Iterable[Gain]) -> dict[tuple[str, str], Gain]:
    """Gains by source and target, with p values that hold for all of them at once."""
    every = list(gains)
    adjusted = holm([each.p_alone for each in every])
    return {
        (each.source, each.target): replace(each, p=p, tests=len(every))
        for each, p in zip(every, adjusted, strict=True)
    }


def verdict(forth: Gain, back: Gain) -> Verdict:
    """The verdict on two tasks, of which ``forth`` is the gain from the first to the second."""
    one, other = forth.source, forth.target
    open_ = [each for each in (forth, back) if each.helps is None]
    if open_:
        seeds = [each.seeds_needed for each in open_]
        most = max(count for count in seeds if count) if all(seeds) else None
        return _verdict(one, other, "undetermined", f"{_half(forth)}; {_half(back)}", most)
    if forth.helps and back.helps:
        return _verdict(one, other, "1", f"{one} and {other} help each other", 0)
    if not forth.helps and not back.helps:
        return _verdict(one, other, "3", f"neither of {one} and {other} helps the other", 0)
    first, second = sorted((forth, back), key=lambda each: not each.helps)
    return _verdict(one, other, "one way", f"{_half(first)}; {_half(second)}", 0)


def _verdict(one: str, other: str, condition: Condition, words: str, seeds_needed: int | None) -> Verdict:
    return Verdict(one=one, other=other, condition=condition, words=words, seeds_needed=seeds_needed)


def _half(of: Gain) -> str:
    if of.helps is not None:
        return f"{of.source} {'helps' if of.helps else 'does not help'} {of.target}"
    if of.logs.count < 2:
        return f"whether {of.source} helps {of.target} takes more than one seed"
    return f"whether {of.source} helps {of.target}, {of.seeds_needed or 'more than a thousand'} seeds would tell"


def verdicts(gains: Mapping[tuple[str, str], Gain], tasks: list[str]) -> list[Verdict]:
    """The verdict on every pair of tasks."""
    return [verdict(gains[one, other], gains[other, one]) for one, other in combinations(tasks, 2)]


def recommend(
    gains: Mapping[tuple[str, str], Gain], tasks: tuple[Task, ...], frames: Mapping[tuple[str, str], int]
) -> dict[str, Recommendation]:
    """The teacher of each task's pseudo-labels, as :mod:`trainer.recommendation` follows it.

    Of the sources that are known to help and that some frame shows without the target, the one that helps most; not
    several at once, which nobody has measured.

    Args:
        gains: by source and target.
        tasks: all of them.
        frames: by source and target, how many training frames show the source and lack the target.
    """
    return {task.name: _recommend(task, gains, frames) for task in tasks}


def _recommend(
    target: Task, gains: Mapping[tuple[str, str], Gain], frames: Mapping[tuple[str, str], int]
) -> Recommendation:
    there = [each for pair, each in gains.items() if pair[1] == target.name and frames[pair]]
    if not there:
        return Recommendation(None, ALL, "no frame lacks it and shows another task")
    helping = [each for each in there if each.helps]
    if not helping:
        return Recommendation(None, ALL, "; ".join(map(str, there)))
    best = max(helping, key=lambda each: each.relative.mean)
    keep = Pseudo.keep if target.storage.confident else ALL  # nothing else has a confidence
    why = f"{best}; {frames[best.source, target.name]} frames show {best.source} alone"
    return Recommendation(["rgb", best.source], keep, why)


def percent(relative: Interval) -> str:
    """A relative gain with its interval, in percent: ``+12.3 % (+3.1 to +21.5)``."""
    mean, low, high = (signed(100 * value, 1) for value in (relative.mean, relative.low, relative.high))
    return f"{mean} % (one seed)" if relative.count < 2 else f"{mean} % ({low} to {high})"
