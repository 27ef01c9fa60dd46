"""Verdicts on given figures: every Condition, which way a metric is better, and what would settle the rest."""

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


def over(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def made(source: str, target: str, *relative: float) -> Gain:
    return Gain(source, target, interval(relative), interval(np.log1p(relative).tolist()))


GOOD, BAD, OPEN = (0.10, 0.12, 0.11), (-0.10, -0.12, -0.11), (0.3, -0.2, 0.1)
SURE = (0.10, 0.101, 0.102)


@pytest.mark.parametrize(("target", "better"), [(SEMSEG, 1), (DEPTH, -1), (NORMALS, -1)])
def test_a_gain_is_positive_where_the_target_gets_better(target, better):
    alone, seeing = over(0.40, 0.50, 0.60), over(0.50, 0.61, 0.69)
    found = gain("x", target, seeing, alone)
    assert found.absolute.mean == pytest.approx(better * 0.1)
    assert found.relative.mean == pytest.approx(better * ((0.5 * 0.61 * 0.69) / (0.4 * 0.5 * 0.6)) ** (1 / 3) - better)
    assert found.helps is (better == 1)


def test_ratios_are_averaged_as_logarithms():
    """Half as good and twice as good are nothing on average, whatever the metric; and an interval of ratios is one of
    logarithms, which leaves no gain of an error over 100 %."""
    for target in (SEMSEG, DEPTH):
        found = gain("x", target, over(0.2, 0.8), over(0.4, 0.4))
        assert found.relative.mean == pytest.approx(0)
        low, high = found.relative.low, found.relative.high
        assert low > -1 if target is SEMSEG else high < 1
    found = gain("x", DEPTH, over(0.5, 0.6, 0.9), over(1.0, 1.1, 1.2))
    logs = interval([math.log(0.5 / 1.0), math.log(0.6 / 1.1), math.log(0.9 / 1.2)])
    bounds = found.relative.low, found.relative.mean, found.relative.high
    assert bounds == pytest.approx([1 - math.exp(each) for each in (logs.high, logs.mean, logs.low)])


def test_a_gain_is_taken_within_a_seed():
    """Seeds differ by far more than the networks do."""
    alone, seeing = over(0.1, 0.5, 0.9), over(0.12, 0.61, 1.07)
    assert gain("x", SEMSEG, seeing, alone).helps
    assert gain("x", SEMSEG, {0: 0.12, 1: 0.521, 7: 9.0}, alone).absolute.count == 2
    with pytest.raises(UserError, match=r"semseg: networks that see RGB alone reach 0 in miou.*; train longer"):
        gain("x", SEMSEG, seeing, over(0.0, 0.0, 0.0))
    found = gain("x", SEMSEG, over(0.2, 0.2), over(0.0, 0.2))
    assert found.logs.mean == pytest.approx(math.log(0.2 / FLOOR) / 2)


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
    found = verdict(made("semseg", "depth", *forth), made("depth", "semseg", *back))
    assert (found.one, found.other, found.condition, found.words) == ("semseg", "depth", condition, words)
    assert found.seeds_needed == 0


def test_what_one_task_does_to_another_does_not_depend_on_their_order():
    gains = {("a", "b"): made("a", "b", *GOOD), ("b", "a"): made("b", "a", *BAD)}
    found = [verdicts(gains, names)[0] for names in (["a", "b"], ["b", "a"])]
    assert [(each.condition, each.words) for each in found] == [("one way", "a helps b; b does not help a")] * 2
    lines = [*verdict_lines(Affinity(verdicts=found, recommended={}))]
    assert lines == ["a and b: a helps b; b does not help a", "b and a: a helps b; b does not help a"]


def test_no_gain_can_be_shown_though_no_interval_is_all_zero():
    """Gains around nothing, closely: less than the least that counts, though zero lies within."""
    close = (0.001, -0.002, 0.0015)
    assert interval(close).sign == 0 and max(close) < LEAST
    found = verdict(made("a", "b", *close), made("b", "a", *close))
    assert (found.condition, found.words) == ("3", "neither of a and b helps the other")
    assert made("a", "b", 0.0030, 0.0031, 0.0032).helps is False, "more than nothing, and less than counts"
    assert made("a", "b", 0.0080, 0.0081, 0.0082).helps is False, "also where nothing is further away than what counts"
    assert made("a", "b", 0.0120, 0.0121, 0.0122).helps is True


def test_pairs_are_tested_together():
    """What is sure of one pair that is asked about alone is not of one among twelve."""
    likely = (0.05, 0.10, 0.08)
    names = "abcd"
    pairs = [(s, t) for s in names for t in names if s != t]
    assert made("a", "b", *likely).helps
    found = adjust_p_values([made(s, t, *(likely if (s, t) == ("a", "b") else OPEN)) for s, t in pairs])
    assert found["a", "b"].helps is None and found["a", "b"].p == pytest.approx(12 * made("a", "b", *likely).p_alone)
    found = adjust_p_values([made(s, t, *(likely if (s, t) == ("a", "b") else SURE)) for s, t in pairs])
    assert all(each.helps for each in found.values()), "the last that Holm looks at is held to what one alone is"


def test_false_help_is_rare_among_all_pairs():
    """Of three tasks that do nothing for each other, over three seeds."""
    draws = np.random.default_rng(0).normal(0, 0.05, (600, 6, 3))
    pairs = [(s, t) for s in NAMES for t in NAMES if s != t]

    def wrong(gains: Iterable[Gain]) -> bool:
        return any(each.helps for each in gains)

    families = [[made(*pair, *np.expm1(logs)) for pair, logs in zip(pairs, family, strict=True)] for family in draws]
    alone, held = (
        np.mean([wrong(way(family)) for family in families]) for way in (list, lambda f: adjust_p_values(f).values())
    )
    assert alone > 0.1 and held < 0.04


def test_what_is_open_says_how_many_seeds_would_settle_it():
    unsure = made("a", "b", 0.1, 0.3, 0.0)
    assert unsure.helps is None and unsure.seeds_needed == values_needed(unsure.logs)
    found = verdict(unsure, made("b", "a", *GOOD))
    assert (found.condition, found.seeds_needed) == ("undetermined", unsure.seeds_needed)
    assert found.words == f"whether a helps b, {unsure.seeds_needed} seeds would tell; b helps a"
    harmful = made("a", "b", -0.3, 0.1, -0.2)
    found = verdict(made("b", "a", *BAD), harmful)
    assert found.words.startswith("b does not help a; whether a helps b, ")
    assert (
        found.seeds_needed
        == harmful.seeds_needed
        == values_needed(replace(harmful.logs, mean=harmful.logs.mean - harmful.least))
    )
    assert replace(unsure, tests=6).seeds_needed > unsure.seeds_needed, "among others it takes more"


def test_seeds_needed_are_for_the_answer_that_is_nearer():
    tiny = made("a", "b", 0.3, -0.2307, 0.0)
    assert tiny.helps is None and tiny.seeds_needed is None, "over a thousand either way"
    near = made("a", "b", 0.02, -0.012, 0.001)
    above, below = values_needed(near.logs), values_needed(replace(near.logs, mean=near.logs.mean - near.least))
    assert near.seeds_needed == below < above


def test_one_seed_tells_nothing():
    found = verdict(made("a", "b", 0.5), made("b", "a", -0.5))
    assert (found.condition, found.seeds_needed) == ("undetermined", None)
    assert found.words == "whether a helps b takes more than one seed; whether b helps a takes more than one seed"
    assert percent(made("a", "b", 0.5).relative) == "+50.0 % (one seed)"
    assert not math.isfinite(gain("x", DEPTH, over(0.5), over(1.0)).relative.high)


def test_a_thousand_seeds_are_not_promised():
    found = verdict(made("a", "b", 0.3, -0.2307, 0.0), made("b", "a", *GOOD))
    assert found.seeds_needed is None and "more than a thousand seeds would tell" in found.words


def test_every_pair_of_three_tasks_has_a_verdict():
    names = ["a", "b", "c"]
    gains = {(s, t): made(s, t, *GOOD) for s in names for t in names if s != t}
    assert [(each.one, each.other) for each in verdicts(gains, names)] == [("a", "b"), ("a", "c"), ("b", "c")]


# Recommendations

TASKS = (SEMSEG, DEPTH, NORMALS)
NAMES = [task.name for task in TASKS]


def gains_of(**values: tuple[float, ...]) -> dict[tuple[str, str], Gain]:
    """Gains by ``source_target``; those that are not named do harm."""
    pairs = [(s, t) for s in NAMES for t in NAMES if s != t]
    return {(s, t): made(s, t, *values.get(f"{s}_{t}", BAD)) for s, t in pairs}


def frames_of(**counts: int) -> dict[tuple[str, str], int]:
    return {(s, t): counts.get(f"{s}_{t}", 0) for s in NAMES for t in NAMES if s != t}


def test_the_source_that_helps_most_of_those_with_more_labels_is_recommended():
    better = (0.5, 0.51, 0.52)
    gains = gains_of(depth_semseg=GOOD, normals_semseg=better, semseg_depth=better)
    found = recommend(gains, TASKS, frames_of(depth_semseg=300, normals_semseg=300))
    assert found["semseg"].inputs == ["rgb", "normals"] and found["semseg"].keep == 0.9
    assert found["semseg"].why == "normals helps semseg: +51.0 % (+48.5 to +53.5); 300 frames show normals alone"
    assert found["depth"] == Recommendation(None, "all", "no frame lacks it and shows another task")
    found = recommend(gains, TASKS, frames_of(depth_semseg=300))
    assert found["semseg"].inputs == ["rgb", "depth"], "there are no more normals than semseg"


def test_what_is_not_known_to_help_is_not_recommended():
    found = recommend(gains_of(depth_semseg=OPEN), TASKS, frames_of(depth_semseg=9, normals_semseg=9))
    assert found["semseg"].inputs is None
    assert "depth may help semseg" in found["semseg"].why and "normals does not help" in found["semseg"].why


def test_what_has_no_confidence_gets_no_threshold():
    found = recommend(gains_of(depth_normals=GOOD), TASKS, frames_of(depth_normals=9))
    assert found["normals"].inputs == ["rgb", "depth"] and found["normals"].keep == "all"
