"""What follows from measured gains: how two tasks help each other, how sure that is, and which teacher to train.

The paper asks of two tasks whether each one's labels, as inputs, help to predict the other, and names the answers
Conditions: 1, both help; 2 and its mirror, one does; 3, none. (Its definitions and its conclusion name the two middle
ones the opposite way, so what counts here are the words.)

**Sure of what.** A source helps where the whole interval of its gain lies above zero. It does not where the
whole interval lies below :data:`LEAST`: no number of seeds could show a gain of exactly nothing, but enough of them can
show that it is less than anybody would label for. Everything else is undetermined.
"""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

from shards.errors import UserError
from shards.tasks import Task
from trainer.config import Pseudo
from trainer.metrics import HEADLINE
from trainer.results.headlines import SMALLER_IS_BETTER, signed
from trainer.results.interval import Interval, needed, paired

Scores = Mapping[int, float]
"""A figure by seed."""
Condition = Literal["1", "2", "2-mirror", "3", "undetermined"]

LEAST = 0.01
"""The smallest gain that counts, as a part of the RGB-only network's figure."""


@dataclass(frozen=True)
class Gain:
    """What a source's label, as an input beside RGB, brings a target on validation frames.

    Args:
        source, target: names of tasks.
        absolute: better − worse, in the metric's own unit: positive where it helps, whichever way the metric goes.
        relative: the same as a part of the RGB-only networks' mean, so that tasks of different kinds compare.
    """

    source: str
    target: str
    absolute: Interval
    relative: Interval

    @property
    def helps(self) -> bool | None:
        """Whether it does; None where that is undetermined."""
        if self.relative.low > 0:
            return True
        return False if self.relative.high < LEAST else None

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds in all would determine it, if mean and deviation stayed; None if over a thousand, or if one
        seed tells nothing of the deviation."""
        if self.helps is not None:
            return self.relative.count
        above = needed(self.relative) if self.relative.mean > 0 else None
        below = needed(replace(self.relative, mean=self.relative.mean - LEAST)) if self.relative.mean < LEAST else None
        return min((count for count in (above, below) if count), default=None)

    def __str__(self) -> str:
        verb = {True: "helps", False: "does not help", None: "may help"}[self.helps]
        return f"{self.source} {verb} {self.target}: {percent(self.relative)}"


def gain(source: str, target: Task, seeing: Scores, alone: Scores) -> Gain:
    """The gain from the figures of the networks that see the source's label and of those that do not, by seed.

    Raises:
        UserError: when the figures of the latter are all zero.
    """
    metric = HEADLINE[target.kind]
    difference = paired(alone, seeing) if metric in SMALLER_IS_BETTER else paired(seeing, alone)
    reference = statistics.fmean(alone[seed] for seed in alone.keys() & seeing.keys())
    if not reference:
        what = f"networks that see RGB alone reach 0 in {metric}, to which no gain is relative"
        raise UserError(what, key=target.name, cure="train longer (train.steps)")
    scaled = {name: value / reference for name, value in asdict(difference).items() if name != "count"}
    return Gain(source, target.name, difference, Interval(**scaled, count=difference.count))


@dataclass(frozen=True)
class Verdict:
    """How two tasks help each other.

    Args:
        one, other: their names.
        condition: ``2`` where one helps the other alone, ``2-mirror`` where other helps one alone.
        words: the same in words.
        more_seeds: that would settle what is undetermined, were mean and deviation to stay; None for more than a
            thousand, or where one seed tells nothing of the deviation.
    """

    one: str
    other: str
    condition: Condition
    words: str
    more_seeds: int | None


def verdict(forth: Gain, back: Gain) -> Verdict:
    """The verdict on two tasks, of which ``forth`` is the gain from the first to the second."""
    one, other = forth.source, forth.target
    answers = forth.helps, back.helps
    if None in answers:
        totals = [each.seeds_needed for each in (forth, back)]
        more = max(total - forth.relative.count for total in totals if total) if all(totals) else None
        return Verdict(one, other, "undetermined", f"{_half(forth)}; {_half(back)}", more)
    known: dict[tuple[bool | None, bool | None], tuple[Condition, str]] = {
        (True, True): ("1", f"{one} and {other} help each other"),
        (True, False): ("2", f"{one} helps {other}, not the reverse"),
        (False, True): ("2-mirror", f"{other} helps {one}, not the reverse"),
        (False, False): ("3", f"neither of {one} and {other} helps the other"),
    }
    return Verdict(one, other, *known[answers], more_seeds=0)


def _half(of: Gain) -> str:
    if of.helps is not None:
        return f"{of.source} {'helps' if of.helps else 'does not help'} {of.target}"
    if of.relative.count < 2:
        return f"whether {of.source} helps {of.target} takes more than one seed"
    more = of.seeds_needed and of.seeds_needed - of.relative.count
    often = "more than a thousand seeds" if more is None else f"about {more} more seed{'s' * (more > 1)}"
    return f"whether {of.source} helps {of.target} takes {often}"


def verdicts(gains: Mapping[tuple[str, str], Gain], tasks: list[str]) -> list[Verdict]:
    """The verdict on every pair of tasks."""
    return [verdict(gains[one, other], gains[other, one]) for one, other in combinations(tasks, 2)]


def recommend(
    gains: Mapping[tuple[str, str], Gain], tasks: tuple[Task, ...], frames: Mapping[tuple[str, str], int]
) -> dict[str, dict[str, Any]]:
    """The teacher of each task's pseudo-labels, as :mod:`trainer.recommendation` reads it.

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
) -> dict[str, Any]:
    nothing: dict[str, Any] = {"inputs": None, "threshold": None}
    there = [each for pair, each in gains.items() if pair[1] == target.name and frames[pair]]
    if not there:
        return nothing | {"why": "no frame lacks it and shows another task"}
    helping = [each for each in there if each.helps]
    if not helping:
        return nothing | {"why": "; ".join(map(str, there))}
    best = max(helping, key=lambda each: each.relative.mean)
    threshold = Pseudo.threshold if target.kind == "classes" else None  # nothing else has a confidence
    why = f"{best}; {frames[best.source, target.name]} frames show {best.source} alone"
    return {"inputs": ["rgb", best.source], "threshold": threshold, "why": why}


def percent(relative: Interval) -> str:
    """A relative gain with its interval, in percent: ``+12.3 % (+3.1 to +21.5)``."""
    mean, low, high = (signed(100 * value, 1) for value in (relative.mean, relative.low, relative.high))
    return f"{mean} % (one seed)" if relative.count < 2 else f"{mean} % ({low} to {high})"
