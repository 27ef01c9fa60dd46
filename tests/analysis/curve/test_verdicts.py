"""The verdicts of a label curve: corrected for all of its budgets and tasks together, on headline metrics alone."""

import numpy as np
import pytest

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point
from analysis.curve.table import tabulate
from analysis.curve.words import remarks, sentences

SEEDS = 3


def curve_of(*metric_curves: MetricCurve) -> LabelCurve:
    labels = tuple(point.labels for point in metric_curves[0].points)
    return LabelCurve("rooms", "semseg", "s", labels, tuple(range(SEEDS)), metric_curves)


def metric_curve(task: str, metric: str, differences: dict[int, list[float]]) -> MetricCurve:
    """A curve with these differences between student and baseline by number of labels, over seeds."""
    points = []
    for labels, values in differences.items():
        baseline = dict.fromkeys(range(len(values)), 0.2 + labels / 1000)
        points.append(Point(labels, baseline, {seed: baseline[seed] + value for seed, value in enumerate(values)}))
    return MetricCurve(task, metric, "s", "b", None, tuple(points))


def verdicts(curve: LabelCurve) -> list[list[str]]:
    tables = tabulate(curve)
    return [[row[table.titles.index("verdict")] for row in table.rows] for table in tables]


def test_all_budgets_and_tasks_are_corrected_together():
    """The p of the first is 0.013: below 0.05 alone, and not after Holm's factor of 6."""
    lead, none = [0.02, 0.025, 0.03], [0.01, -0.02, 0.005]
    alone = curve_of(metric_curve("semseg", "miou", {25: lead}))
    assert alone.p_values()["semseg", "miou", 25] == pytest.approx(0.0131, abs=1e-3)
    assert verdicts(alone) == [["better"]] and "undetermined" not in sentences(alone)[0]
    lead_and_others = [metric_curve("semseg", "miou", {25: lead, 50: none, 100: none})]
    lead_and_others.append(metric_curve("depth", "rmse", {25: none, 50: none, 100: none}))
    together = curve_of(*lead_and_others)
    assert len(together.p_values()) == 6
    assert all(text.startswith("undetermined") for texts in verdicts(together) for text in texts)
    assert sentences(together)[0].count(", undetermined") == 3
    assert remarks(together)[0].startswith("verdicts: Holm's method over the 6 differences in headline metrics")


def test_other_metrics_get_no_verdict():
    lead = {25: [-0.02, -0.025, -0.03]}
    curve = curve_of(metric_curve("depth", "rmse", lead), metric_curve("depth", "rmse_log", lead))
    assert verdicts(curve) == [["better"], ["–"]] and len(curve.p_values()) == 1


def test_one_seed_is_not_tested():
    curve = curve_of(metric_curve("semseg", "miou", {25: [0.1], 50: [0.1]}))
    assert verdicts(curve) == [["undetermined: one seed"] * 2] and remarks(curve) == []


def test_at_most_one_curve_in_twenty_without_a_difference_has_a_verdict():
    random = np.random.default_rng(0)
    false_verdicts = 0
    for _ in range(300):
        names = {"semseg": "miou", "depth": "rmse"}
        noise = {task: {n: list(random.normal(0, 0.01, SEEDS)) for n in (25, 50, 100, 250)} for task in names}
        curve = curve_of(*(metric_curve(task, names[task], noise[task]) for task in names))
        false_verdicts += any(p <= 0.05 for p in curve.p_values().values())
    assert false_verdicts <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)
