"""Charts as SVG: scales, ticks, labels, and that all text in them is escaped."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis.report.charts import Dots, Line, dot_chart, line_chart, reliability_chart, threshold_chart
from analysis.report.confidence import BINS, Counts
from analysis.report.svg import Axis, Canvas, decimals, spread_apart

NAME = "<b>a & b</b>"


def coordinates(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    paths = re.findall(rf'<path d="([^"]*)" class="{kind}', svg)
    return [[(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)] for path in paths]


def test_ticks_are_round_and_within_the_axis():
    assert [text for _, text in Axis(0.13, 0.94, 0, 1).ticks()] == ["0.2", "0.4", "0.6", "0.8"]
    assert [text for _, text in Axis(0, 24_000, 0, 1).ticks()] == ["0", "5k", "10k", "15k", "20k"]
    logarithmic = Axis(0.9, 120, 0, 1, logarithmic=True)
    assert [text for _, text in logarithmic.ticks(8)] == ["1", "2", "5", "10", "20", "50", "100"]
    assert logarithmic(0.9) == 0 and logarithmic(120) == pytest.approx(1)
    assert decimals([-1, 0.25]) == ["−1.00", "0.25"]


def test_labels_keep_apart_and_in_order():
    positions = spread_apart([50, 51, 52, 10], 12, 0, 60)
    assert sorted(range(4), key=positions.__getitem__) == [3, 0, 1, 2]
    assert np.diff(sorted(positions)).min() >= 12 - 1e-9 and max(positions) <= 60


def test_a_line_runs_from_its_first_to_its_last_point():
    svg = str(line_chart("t", [Line(NAME, 3, [0, 5, 10], [1, 3, 2], "tip")], "step"))
    (points,) = coordinates(svg, "line k3 x3")
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[1][1] < points[2][1] < points[0][1], "up is more"


def test_a_gap_in_the_values_is_a_gap_in_the_line():
    canvas = Canvas(10, 10, "t", "")
    canvas.path([(0, 0), (1, math.nan), (2, 2), (3, 3)], "line")
    assert re.search(r'd="M0.0 0.0h0M2.0 2.0h0L3.0 3.0"', str(canvas.svg()))


def test_long_lines_are_thinned_and_keep_their_mean():
    line = Line("a", 0, list(range(5000)), [7.0] * 4999 + [8.0], "")
    (points,) = coordinates(str(line_chart("t", [line], "step")), "line k0")
    assert len(points) == 160


@pytest.mark.parametrize("count", [1, 3, 14])
def test_charts_are_well_formed_and_escape_what_they_show(count):
    pixels = np.full((2, BINS), 3)
    counts = Counts(pixels, pixels, pixels - 1, np.linspace(0, 6, BINS))
    lines = [Line(NAME, number, [0, 1], [number, 2.0], NAME) for number in range(count)]
    charts = [
        line_chart(NAME, lines, "step"),
        dot_chart(NAME, [Dots(NAME, number, {0: 0.1, 1: 0.2}) for number in range(count)], 100, 2),
        threshold_chart(NAME, counts, 0, [0.9]),
        reliability_chart(NAME, counts, 0),
    ]
    for chart in charts:
        ElementTree.fromstring(chart)
        assert "<b>" not in chart and "&lt;b&gt;a &amp; b" in chart


def test_one_run_of_one_line_and_one_value_can_be_drawn():
    line_chart("t", [Line("a", 0, [5], [0.0], "")], "step")
    dot_chart("t", [Dots("a", 0, {0: 0.0})], 100, 2)
