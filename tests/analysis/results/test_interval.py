"""Means over seeds, their intervals, and p-values of several tests at once."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.results.interval import (
    LEVEL,
    Interval,
    holm,
    interval,
    p_above,
    p_below,
    p_two_sided,
    paired_interval,
    power,
    values_needed,
)


def test_an_interval_is_that_of_a_t_test():
    values = [24.1, 23.0, 25.7, 24.9]
    estimate = interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))
    assert (estimate.mean, estimate.deviation, estimate.count) == pytest.approx(
        (np.mean(values), np.std(values, ddof=1), 4)
    )


def test_it_holds_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1.0, 2.0, (2000, 3))
    covered = [estimate.low < 1 < estimate.high for estimate in map(interval, draws.tolist())]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_one_value_says_nothing_of_its_error():
    assert (interval([3.0]).low, interval([3.0]).high) == (-math.inf, math.inf)
    assert interval([3.0]).sign == 0 and values_needed(interval([3.0])) is None
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_pairs_are_of_a_seed():
    """The seeds differ by far more than the networks do."""
    first, second = {0: 10.1, 1: 20.2, 2: 30.1, 7: 0.0}, {0: 10.0, 1: 20.0, 2: 30.0, 8: 0.0}
    estimate = paired_interval(first, second)
    assert estimate.count == 3 and estimate.mean == pytest.approx(0.4 / 3)
    assert interval(list(first.values())).sign == 0
    assert estimate.sign == 0 and paired_interval(second, first).mean == pytest.approx(-estimate.mean)
    assert paired_interval({0: 1.0, 1: 1.1}, {0: 2.0, 1: 2.11}).sign == -1


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.1], [-3.0, 1.0, 2.5, -0.5], [5.0, 5.1]])
def test_p_is_that_of_a_t_test(values):
    estimate = interval(values)
    for bound in (0.0, 0.15):
        for test, tail in ((p_above, "greater"), (p_below, "less")):
            assert test(estimate, bound) == pytest.approx(stats.ttest_1samp(values, bound, alternative=tail).pvalue)
    assert p_two_sided(estimate) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert (p_two_sided(estimate) < 1 - LEVEL) is (estimate.sign != 0)


def test_p_of_what_tells_nothing_or_everything():
    assert p_above(interval([3.0])) == p_below(interval([3.0])) == p_two_sided(interval([3.0])) == 1
    assert (p_above(interval([1.0, 1.0])), p_below(interval([1.0, 1.0]))) == (0, 1)
    assert p_two_sided(interval([0.0, 0.0])) == 1, "no difference, however often it is seen"


def test_of_tests_that_are_made_together_the_smallest_is_held_to_the_most():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06]), "of 3, 2, 1; in no other order than their p's"
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([0.02]) == [0.02] and holm([]) == []


@pytest.mark.slow
def test_tests_that_are_made_together_are_together_wrong_as_seldom_as_one():
    """Twelve tests whose null hypotheses are all true; one by one, four of ten families have a false positive."""
    draws = np.random.default_rng(0).normal(size=(750, 12, 4))
    families = [[p_two_sided(interval(values)) for values in family] for family in draws.tolist()]
    single = np.mean([min(family) <= 0.05 for family in families])
    together = np.mean([min(holm(family)) <= 0.05 for family in families])
    assert single == pytest.approx(0.46, abs=0.04) and together == pytest.approx(0.05, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("tests", [1, 6])
def test_as_many_seeds_as_would_tell_tell_four_times_of_five(tests):
    estimate = interval([1.0, 0.2, -0.4, 0.9])
    count = values_needed(estimate, tests)
    draws = np.random.default_rng(0).normal(estimate.mean, estimate.deviation, (4000, count))
    decided = [p_above(interval(values)) <= 0.025 / tests for values in draws.tolist()]
    assert np.mean(decided) == pytest.approx(0.8, abs=0.03)
    assert power(estimate, count - 1, tests) < 0.8 <= power(estimate, count, tests)


def test_how_many_would_tell():
    estimate = Interval(0.5, 0, 1, 1.0, 9)
    assert values_needed(estimate) == 34, "as tables of the t-test's power have it for an effect of half a deviation"
    assert values_needed(estimate, tests=6) > values_needed(estimate)
    assert values_needed(interval([1e-6, -1.0, 1.0])) is None and values_needed(interval([0.0, 0.0])) is None
    assert values_needed(interval([1.0, 1.1, 1.0])) == values_needed(interval([1.0, 1.0])) == 2, "fewer tell nothing"
