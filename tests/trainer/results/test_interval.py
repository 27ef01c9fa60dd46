"""Means over seeds and how sure they are."""

import math

import numpy as np
import pytest
from scipy import stats

from trainer.results.interval import interval, needed, paired


def test_an_interval_is_that_of_a_t_test():
    values = [24.1, 23.0, 25.7, 24.9]
    found = interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.deviation, found.count) == pytest.approx((np.mean(values), np.std(values, ddof=1), 4))


def test_it_holds_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1.0, 2.0, (2000, 3))
    held = [found.low < 1 < found.high for found in map(interval, draws.tolist())]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_one_value_says_nothing_of_its_error():
    assert (interval([3.0]).low, interval([3.0]).high) == (-math.inf, math.inf)
    assert interval([3.0]).sign == 0 and needed(interval([3.0])) is None
    with pytest.raises(ValueError, match="no values"):
        interval([])


def test_pairs_are_of_a_seed():
    """The seeds differ by far more than the networks do."""
    ones, others = {0: 10.1, 1: 20.2, 2: 30.1, 7: 0.0}, {0: 10.0, 1: 20.0, 2: 30.0, 8: 0.0}
    found = paired(ones, others)
    assert found.count == 3 and found.mean == pytest.approx(0.4 / 3)
    assert interval(list(ones.values())).sign == 0
    assert found.sign == 0 and paired(others, ones).mean == pytest.approx(-found.mean)
    assert paired({0: 1.0, 1: 1.1}, {0: 2.0, 1: 2.11}).sign == -1


def test_how_many_would_settle_it():
    found = interval([0.1, 0.2, 0.1])
    assert needed(found) == 4  # 3.18 * 0.0577 / 2 = 0.092 < 0.133 < 4.30 * 0.0577 / 1.73
    assert interval([0.1, 0.2, 0.1] * 2).count == 6 and interval([0.1, 0.2, 0.1] * 2).sign == 1
    assert needed(interval([1e-6, -1.0, 1.0])) is None
    assert needed(interval([1.0, 1.1, 1.0])) == 3, "settled already"
