"""Verdicts on given figures: every Condition, which way a metric is better, and what would settle the rest."""

from dataclasses import replace

import pytest

from shards.errors import UserError
from shards.tasks import Task, palette
from trainer.relations.relation import LEAST, Gain, gain, percent, recommend, verdict, verdicts
from trainer.results.interval import interval

SEMSEG = Task("semseg", "classes", tuple("abc"), palette(3))
DEPTH = Task("depth", "metric", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")


def over(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def made(source: str, target: str, *relative: float) -> Gain:
    return Gain(source, target, interval(relative), interval(relative))


GOOD, BAD, OPEN = (0.10, 0.12, 0.11), (-0.10, -0.12, -0.11), (0.3, -0.2, 0.1)


@pytest.mark.parametrize(("target", "better"), [(SEMSEG, 1), (DEPTH, -1), (NORMALS, -1)])
def test_a_gain_is_positive_where_the_target_gets_better(target, better):
    alone, seeing = over(0.40, 0.50, 0.60), over(0.50, 0.61, 0.69)
    found = gain("x", target, seeing, alone)
    assert found.absolute.mean == pytest.approx(better * 0.1)
    assert found.relative.mean == pytest.approx(better * 0.2), "of the mean of 0.5"
    assert found.relative.low == pytest.approx(found.absolute.low / 0.5)
    assert found.helps is (better == 1)


def test_a_gain_is_taken_within_a_seed():
    """Seeds differ by far more than the networks do."""
    alone, seeing = over(0.1, 0.5, 0.9), over(0.12, 0.521, 0.92)
    assert gain("x", SEMSEG, seeing, alone).helps
    assert gain("x", SEMSEG, {0: 0.12, 1: 0.521, 7: 9.0}, alone).absolute.count == 2
    with pytest.raises(UserError, match=r"semseg: networks that see RGB alone reach 0 in miou.*; train longer"):
        gain("x", SEMSEG, seeing, over(0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("forth", "back", "condition", "words"),
    [
        (GOOD, GOOD, "1", "semseg and depth help each other"),
        (GOOD, BAD, "2", "semseg helps depth, not the reverse"),
        (BAD, GOOD, "2-mirror", "depth helps semseg, not the reverse"),
        (BAD, BAD, "3", "neither of semseg and depth helps the other"),
    ],
)
def test_every_condition(forth, back, condition, words):
    found = verdict(made("semseg", "depth", *forth), made("depth", "semseg", *back))
    assert (found.one, found.other, found.condition, found.words) == ("semseg", "depth", condition, words)
    assert found.more_seeds == 0


def test_no_gain_can_be_shown_though_no_interval_is_all_zero():
    """Gains around nothing, closely: less than the least that counts, though zero lies within."""
    close = (0.001, -0.002, 0.0015)
    assert interval(close).sign == 0 and max(close) < LEAST
    found = verdict(made("a", "b", *close), made("b", "a", *close))
    assert (found.condition, found.words) == ("3", "neither of a and b helps the other")


def test_what_is_open_says_how_many_seeds_would_settle_it():
    unsure = made("a", "b", 0.1, 0.2, 0.1)
    assert unsure.helps is None and unsure.seeds_needed == 4  # as in test_interval
    found = verdict(unsure, made("b", "a", *GOOD))
    assert (found.condition, found.more_seeds) == ("undetermined", 1)
    assert found.words == "whether a helps b takes about 1 more seed; b helps a"
    harmful = made("a", "b", -0.3, 0.1, -0.2)
    found = verdict(made("b", "a", *BAD), harmful)
    assert found.words.startswith("b does not help a; whether a helps b takes about ")
    assert found.more_seeds == harmful.seeds_needed - 3 > 1


def test_seeds_needed_are_those_that_put_the_interval_on_one_side():
    unsure = made("a", "b", 0.3, -0.1, 0.2)
    wide = unsure.relative
    for count, settled in ((unsure.seeds_needed - 1, False), (unsure.seeds_needed, True)):
        spread = wide.deviation * ((count - 1) / count) ** 0.5  # of the population, which such a sample has
        values = [wide.mean + spread * (-1) ** i for i in range(count // 2 * 2)] + [wide.mean] * (count % 2)
        again = replace(interval(values), deviation=wide.deviation)
        half = again.high - again.mean
        exact = half * wide.deviation / interval(values).deviation
        assert (wide.mean > exact) is settled
    tiny = made("a", "b", 0.3, -0.29, 0.003)  # 0.4 %: settles as too small sooner than as more than nothing
    assert tiny.helps is None and tiny.seeds_needed is None, "over a thousand either way"
    near = made("a", "b", 0.02, -0.012, 0.001)
    assert near.seeds_needed == min(
        made_count
        for made_count in range(3, 1000)
        if _reach(near, made_count) < max(near.relative.mean, LEAST - near.relative.mean)
    )


def _reach(of: Gain, count: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, count - 1)) * of.relative.deviation / count**0.5


def test_one_seed_tells_nothing():
    found = verdict(made("a", "b", 0.5), made("b", "a", -0.5))
    assert (found.condition, found.more_seeds) == ("undetermined", None)
    assert found.words == "whether a helps b takes more than one seed; whether b helps a takes more than one seed"
    assert percent(interval([0.5])) == "+50.0 % (one seed)"


def test_a_thousand_seeds_are_not_promised():
    found = verdict(made("a", "b", 0.3, -0.29, 0.003), made("b", "a", *GOOD))
    assert found.more_seeds is None and "takes more than a thousand seeds" in found.words


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
    assert found["semseg"]["inputs"] == ["rgb", "normals"] and found["semseg"]["threshold"] == 0.9
    assert found["semseg"]["why"] == "normals helps semseg: +51.0 % (+48.5 to +53.5); 300 frames show normals alone"
    assert found["depth"] == {"inputs": None, "threshold": None, "why": "no frame lacks it and shows another task"}
    found = recommend(gains, TASKS, frames_of(depth_semseg=300))
    assert found["semseg"]["inputs"] == ["rgb", "depth"], "there are no more normals than semseg"


def test_what_is_not_known_to_help_is_not_recommended():
    found = recommend(gains_of(depth_semseg=OPEN), TASKS, frames_of(depth_semseg=9, normals_semseg=9))
    assert found["semseg"]["inputs"] is None
    assert "depth may help semseg" in found["semseg"]["why"] and "normals does not help" in found["semseg"]["why"]


def test_what_has_no_confidence_gets_no_threshold():
    found = recommend(gains_of(depth_normals=GOOD), TASKS, frames_of(depth_normals=9))
    assert found["normals"]["inputs"] == ["rgb", "depth"] and found["normals"]["threshold"] is None
