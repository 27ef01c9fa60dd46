"""Verdicts on given metrics: every condition, the direction of a metric, and how many seeds would decide the rest."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from analysis.affinity.gains import FLOOR, LEAST, Gain, adjust_p_values, gain, percent, recommend, verdict, verdicts
from analysis.affinity.words import verdict_lines
from analysis.results.interval import interval, values_needed
from shards.errors import UserError
from shards.tasks import Task, palette
from trainer.affinity import Affinity, Recommendation

SEMSEG = Task("semseg", "classes", tuple("abc"), palette(3))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def make_gain(source: str, target: str, *relative: float) -> Gain:
    return Gain(source, target, interval(relative), interval(np.log1p(relative).tolist()))


GOOD, BAD, OPEN = (0.10, 0.12, 0.11), (-0.10, -0.12, -0.11), (0.3, -0.2, 0.1)
SURE = (0.10, 0.101, 0.102)


@pytest.mark.parametrize(("target", "better"), [(SEMSEG, 1), (DEPTH, -1), (NORMALS, -1)])
def test_a_gain_is_positive_where_the_target_gets_better(target, better):
    alone, seeing = by_seed(0.40, 0.50, 0.60), by_seed(0.50, 0.61, 0.69)
    result = gain("x", target, seeing, alone)
    assert result.absolute.mean == pytest.approx(better * 0.1)
    assert result.relative.mean == pytest.approx(better * ((0.5 * 0.61 * 0.69) / (0.4 * 0.5 * 0.6)) ** (1 / 3) - better)
    assert result.helps is (better == 1)


def test_ratios_are_averaged_as_logarithms():
    """Half as good and twice as good average to no gain, whatever the metric. An interval of ratios is computed on
    logarithms, so that no gain of an error metric is above 100 %."""
    for target in (SEMSEG, DEPTH):
        result = gain("x", target, by_seed(0.2, 0.8), by_seed(0.4, 0.4))
        assert result.relative.mean == pytest.approx(0)
        low, high = result.relative.low, result.relative.high
        assert low > -1 if target is SEMSEG else high < 1
    result = gain("x", DEPTH, by_seed(0.5, 0.6, 0.9), by_seed(1.0, 1.1, 1.2))
    logs = interval([math.log(0.5 / 1.0), math.log(0.6 / 1.1), math.log(0.9 / 1.2)])
    bounds = result.relative.low, result.relative.mean, result.relative.high
    assert bounds == pytest.approx([1 - math.exp(value) for value in (logs.high, logs.mean, logs.low)])


def test_a_gain_is_taken_within_a_seed():
    """Seeds differ by far more than the networks do."""
    alone, seeing = by_seed(0.1, 0.5, 0.9), by_seed(0.12, 0.61, 1.07)
    assert gain("x", SEMSEG, seeing, alone).helps
    assert gain("x", SEMSEG, {0: 0.12, 1: 0.521, 7: 9.0}, alone).absolute.count == 2
    with pytest.raises(UserError, match=r"semseg: networks that see RGB alone reach 0 in miou.*; train longer"):
        gain("x", SEMSEG, seeing, by_seed(0.0, 0.0, 0.0))
    result = gain("x", SEMSEG, by_seed(0.2, 0.2), by_seed(0.0, 0.2))
    assert result.logs.mean == pytest.approx(math.log(0.2 / FLOOR) / 2)


@pytest.mark.parametrize(
    ("forth", "back", "condition", "words"),
    [
        (GOOD, GOOD, "1", "semseg and depth help each other"),
        (GOOD, BAD, "one way", "semseg helps depth; depth does not help semseg"),
        (BAD, GOOD, "one way", "depth helps semseg; semseg does not help depth"),
        (BAD, BAD, "3", "neither of semseg and depth helps the other"),
    ],
)
def test_every_condition(forth, back, condition, words):
    result = verdict(make_gain("semseg", "depth", *forth), make_gain("depth", "semseg", *back))
    assert (result.one, result.other, result.condition, result.words) == ("semseg", "depth", condition, words)
    assert result.seeds_needed == 0


def test_what_one_task_does_to_another_does_not_depend_on_their_order():
    gains = {("a", "b"): make_gain("a", "b", *GOOD), ("b", "a"): make_gain("b", "a", *BAD)}
    results = [verdicts(gains, names)[0] for names in (["a", "b"], ["b", "a"])]
    assert [(result.condition, result.words) for result in results] == [("one way", "a helps b; b does not help a")] * 2
    lines = [*verdict_lines(Affinity(verdicts=results, recommended={}))]
    assert lines == ["a and b: a helps b; b does not help a", "b and a: a helps b; b does not help a"]


def test_no_gain_can_be_shown_though_no_interval_is_all_zero():
    """Gains close to zero on both sides: all below the smallest gain that counts."""
    close = (0.001, -0.002, 0.0015)
    assert interval(close).sign == 0 and max(close) < LEAST
    result = verdict(make_gain("a", "b", *close), make_gain("b", "a", *close))
    assert (result.condition, result.words) == ("3", "neither of a and b helps the other")
    assert make_gain("a", "b", 0.0030, 0.0031, 0.0032).helps is False, "more than nothing, and less than counts"
    assert make_gain("a", "b", 0.0080, 0.0081, 0.0082).helps is False, (
        "also where nothing is further away than what counts"
    )
    assert make_gain("a", "b", 0.0120, 0.0121, 0.0122).helps is True


def test_pairs_are_tested_together():
    """A gain that is significant for a single pair is not significant for one of twelve pairs."""
    likely = (0.05, 0.10, 0.08)
    names = "abcd"
    pairs = [(s, t) for s in names for t in names if s != t]
    assert make_gain("a", "b", *likely).helps
    adjusted = adjust_p_values([make_gain(s, t, *(likely if (s, t) == ("a", "b") else OPEN)) for s, t in pairs])
    assert adjusted["a", "b"].helps is None and adjusted["a", "b"].p == pytest.approx(
        12 * make_gain("a", "b", *likely).p_alone
    )
    adjusted = adjust_p_values([make_gain(s, t, *(likely if (s, t) == ("a", "b") else SURE)) for s, t in pairs])
    assert all(entry.helps for entry in adjusted.values()), "the last that Holm looks at is held to what one alone is"


@pytest.mark.slow
def test_false_help_is_rare_among_all_pairs():
    """Three tasks without any effect on each other, over three seeds."""
    draws = np.random.default_rng(0).normal(0, 0.05, (600, 6, 3))
    pairs = [(s, t) for s in NAMES for t in NAMES if s != t]

    def wrong(gains: Iterable[Gain]) -> bool:
        return any(entry.helps for entry in gains)

    families = [
        [make_gain(*pair, *np.expm1(logs)) for pair, logs in zip(pairs, family, strict=True)] for family in draws
    ]
    single_rate, joint_rate = (
        np.mean([wrong(method(family)) for family in families])
        for method in (list, lambda f: adjust_p_values(f).values())
    )
    assert single_rate > 0.1 and joint_rate < 0.04


def test_what_is_open_says_how_many_seeds_would_settle_it():
    unsure = make_gain("a", "b", 0.1, 0.3, 0.0)
    assert unsure.helps is None and unsure.seeds_needed == values_needed(unsure.logs)
    result = verdict(unsure, make_gain("b", "a", *GOOD))
    assert (result.condition, result.seeds_needed) == ("undetermined", unsure.seeds_needed)
    assert result.words == f"whether a helps b, {unsure.seeds_needed} seeds would tell; b helps a"
    harmful = make_gain("a", "b", -0.3, 0.1, -0.2)
    result = verdict(make_gain("b", "a", *BAD), harmful)
    assert result.words.startswith("b does not help a; whether a helps b, ")
    assert (
        result.seeds_needed
        == harmful.seeds_needed
        == values_needed(replace(harmful.logs, mean=harmful.logs.mean - harmful.least))
    )
    assert replace(unsure, tests=6).seeds_needed > unsure.seeds_needed, "among others it takes more"


def test_seeds_needed_are_for_the_answer_that_is_nearer():
    tiny = make_gain("a", "b", 0.3, -0.2307, 0.0)
    assert tiny.helps is None and tiny.seeds_needed is None, "over a thousand either way"
    near = make_gain("a", "b", 0.02, -0.012, 0.001)
    above, below = values_needed(near.logs), values_needed(replace(near.logs, mean=near.logs.mean - near.least))
    assert near.seeds_needed == below < above


def test_one_seed_tells_nothing():
    result = verdict(make_gain("a", "b", 0.5), make_gain("b", "a", -0.5))
    assert (result.condition, result.seeds_needed) == ("undetermined", None)
    assert result.words == "whether a helps b takes more than one seed; whether b helps a takes more than one seed"
    assert percent(make_gain("a", "b", 0.5).relative) == "+50.0 % (one seed)"
    assert not math.isfinite(gain("x", DEPTH, by_seed(0.5), by_seed(1.0)).relative.high)


def test_a_thousand_seeds_are_not_promised():
    result = verdict(make_gain("a", "b", 0.3, -0.2307, 0.0), make_gain("b", "a", *GOOD))
    assert result.seeds_needed is None and "more than a thousand seeds would tell" in result.words


def test_every_pair_of_three_tasks_has_a_verdict():
    names = ["a", "b", "c"]
    gains = {(s, t): make_gain(s, t, *GOOD) for s in names for t in names if s != t}
    assert [(entry.one, entry.other) for entry in verdicts(gains, names)] == [("a", "b"), ("a", "c"), ("b", "c")]


# Recommendations

TASKS = (SEMSEG, DEPTH, NORMALS)
NAMES = [task.name for task in TASKS]


def gains_of(**values: tuple[float, ...]) -> dict[tuple[str, str], Gain]:
    """Gains by (source, target), from ``source_target=values``; pairs that are not named do harm."""
    pairs = [(s, t) for s in NAMES for t in NAMES if s != t]
    return {(s, t): make_gain(s, t, *values.get(f"{s}_{t}", BAD)) for s, t in pairs}


def frames_of(**counts: int) -> dict[tuple[str, str], int]:
    return {(s, t): counts.get(f"{s}_{t}", 0) for s in NAMES for t in NAMES if s != t}


def test_the_source_that_helps_most_of_those_with_more_labels_is_recommended():
    better = (0.5, 0.51, 0.52)
    gains = gains_of(depth_semseg=GOOD, normals_semseg=better, semseg_depth=better)
    recommended = recommend(gains, TASKS, frames_of(depth_semseg=300, normals_semseg=300))
    assert recommended["semseg"].inputs == ["rgb", "normals"] and recommended["semseg"].keep == 0.9
    assert recommended["semseg"].why == "normals helps semseg: +51.0 % (+48.5 to +53.5); 300 frames show normals alone"
    assert recommended["depth"] == Recommendation(None, "all", "no frame lacks it and shows another task")
    recommended = recommend(gains, TASKS, frames_of(depth_semseg=300))
    assert recommended["semseg"].inputs == ["rgb", "depth"], "there are no more normals than semseg"


def test_what_is_not_known_to_help_is_not_recommended():
    recommended = recommend(gains_of(depth_semseg=OPEN), TASKS, frames_of(depth_semseg=9, normals_semseg=9))
    assert recommended["semseg"].inputs is None
    assert "depth may help semseg" in recommended["semseg"].why and "normals does not help" in recommended["semseg"].why


def test_what_has_no_confidence_gets_no_threshold():
    recommended = recommend(gains_of(depth_normals=GOOD), TASKS, frames_of(depth_normals=9))
    assert recommended["normals"].inputs == ["rgb", "depth"] and recommended["normals"].keep == "all"
