"""The number of labels with which the baseline is as good, against numbers computed by hand."""

import math

import pytest

from analysis.curve.saved import Equivalent, equivalent, label_savings

BASELINE = {25: 10.0, 50: 15.0, 100: 20.0}


@pytest.mark.parametrize(
    ("labels", "value", "wanted"),
    [
        (50, 17.5, math.sqrt(50 * 100)),  # half of the way from 15 to 20, in the logarithm
        (25, 12.5, math.sqrt(25 * 50)),
        (25, 16.0, 50 * 2**0.2),  # beyond the next budget
        (50, 20.0, 100),
        (50, 15.0, 50),
        (100, 17.5, math.sqrt(50 * 100)),  # behind: fewer labels would do
        (100, 10.0, 25),
    ],
)
def test_between_budgets_the_metric_follows_the_logarithm(labels, value, wanted):
    result = equivalent(BASELINE, labels, value)
    assert result is not None and result.labels == pytest.approx(wanted) and result.beyond == 0


def test_nothing_is_said_of_what_lies_beyond_the_measured_range():
    assert equivalent(BASELINE, 50, 20.1) == Equivalent(100, 1)
    assert equivalent(BASELINE, 100, 20.1) == Equivalent(100, 1)
    assert equivalent(BASELINE, 50, 9.9) == Equivalent(25, -1)
    assert equivalent({50: 15.0}, 50, 16.0) == Equivalent(50, 1)
    assert equivalent(BASELINE, 75, 16.0) is None, "the baseline was not measured there"


def test_where_less_is_better():
    falling = {25: 1.0, 50: 0.9, 100: 0.8}
    result = equivalent(falling, 25, 0.85, smaller_is_better=True)
    assert result is not None and result.labels == pytest.approx(math.sqrt(50 * 100))
    assert equivalent(falling, 25, 0.7, smaller_is_better=True) == Equivalent(100, 1)
    assert equivalent(falling, 100, 1.1, smaller_is_better=True) == Equivalent(25, -1)


def test_a_dip_before_the_budget_does_not_turn_a_lead_into_a_loss():
    """The baseline has 16 with 25 labels already; with 50 the student is nevertheless ahead of it."""
    result = equivalent({25: 16.0, 50: 15.0, 100: 20.0}, 50, 15.5)
    assert result is not None and result.labels == pytest.approx(50 * 2**0.1)


def test_a_dip_after_the_budget_is_crossed_where_it_first_is():
    result = equivalent({25: 10.0, 50: 20.0, 100: 15.0, 200: 30.0}, 25, 18.0)
    assert result is not None and result.labels == pytest.approx(25 * 2**0.8)


def test_the_mean_over_seeds_and_the_interval_of_the_seeds():
    """Seed 0 is as good as with 50 · 2^0.4 labels, seed 1 as with 50 · 2^0.6: their geometric mean is 70.7."""
    baseline = {n: {0: value - 1, 1: value + 1} for n, value in (BASELINE | {200: 25.0}).items()}
    savings = label_savings(baseline, 50, {0: 16.0, 1: 19.0})
    assert savings is not None and savings.mean.labels == pytest.approx(math.sqrt(50 * 100))
    assert [entry.labels for entry in savings.seeds.values()] == pytest.approx([50 * 2**0.4, 50 * 2**0.6])
    half_width = 12.7062 * 0.1 * math.log(2)  # Student's t of one degree × deviation / √2
    assert savings.low is not None and savings.high is not None
    assert savings.low.labels == pytest.approx(math.sqrt(5000) / math.exp(half_width), rel=1e-4)
    assert savings.high.labels == pytest.approx(math.sqrt(5000) * math.exp(half_width), rel=1e-4)
    assert savings.factor == pytest.approx(math.sqrt(2))


def test_no_interval_where_a_seed_lies_beyond_or_is_alone():
    baseline = {n: {0: value, 1: value} for n, value in BASELINE.items()}
    savings = label_savings(baseline, 50, {0: 16.0, 1: 21.0})
    assert savings is not None and savings.low is savings.high is None
    assert savings.seeds[1] == Equivalent(100, 1) and savings.mean.beyond == 0
    alone = label_savings(baseline, 50, {0: 16.0})
    assert alone is not None and alone.low is None and [*alone.seeds] == [0]
    assert label_savings(baseline, 50, {7: 16.0}) is None and label_savings(baseline, 75, {0: 16.0}) is None


def test_a_budget_that_lacks_a_seed_is_no_step_between_seeds():
    """Seed 1 is 10 points better and was not run with 100 labels: the curve then ends at 50."""
    baseline = {25: {0: 10.0, 1: 20.0}, 50: {0: 15.0, 1: 25.0}, 100: {0: 20.0}}
    savings = label_savings(baseline, 50, {0: 16.0, 1: 26.0})
    assert savings is not None and savings.mean == Equivalent(50, 1)


def test_the_interval_ends_where_the_measured_budgets_do():
    """Both seeds lie between 25 and 100, and Student's t of one degree of freedom reaches far beyond."""
    baseline = {n: {0: value, 1: value} for n, value in BASELINE.items()}
    savings = label_savings(baseline, 50, {0: 13.0, 1: 19.0})
    assert savings is not None and not any(number.beyond for number in savings.seeds.values())
    assert savings.low == Equivalent(25, -1) and savings.high == Equivalent(100, 1)
    at_the_ends = label_savings(baseline, 25, {0: 10.0, 1: 10.0})
    assert at_the_ends is not None and at_the_ends.low == at_the_ends.high == Equivalent(25)
