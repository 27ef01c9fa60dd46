"""Label curves, from a ``curve.json`` of ``tutelage curve``: charts over the number of labels, and tables."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point, read
from analysis.curve.table import tabulate
from analysis.curve.words import remarks
from analysis.report.charts import BOTTOM, TOP, draw_axes, draw_name, widest
from analysis.report.svg import WIDTH, Axis, Canvas, span, spread_apart
from analysis.results.headlines import METRICS, SHOWN
from analysis.results.table import Results

_COLOURS = {"baseline": 1, "student": 0, "teacher": 7}
_HEIGHT = 230


@dataclass(frozen=True)
class LabelCurveSection:
    """The charts and tables of one student's label curves.

    Args:
        remarks: sentences on the curve as a whole.
    """

    file: Path
    curve: LabelCurve
    charts: list[tuple[str, Markup]]
    tables: list[Results]
    remarks: list[str]


def read_section(file: Path) -> LabelCurveSection:
    """Read the section of a report on a ``curve.json``.

    Raises:
        UserError: when it is damaged.
    """
    curve = read(file)
    charts = [
        (title, label_chart(title, curve, metric_curve))
        for metric_curve in curve.curves
        if (title := _title(metric_curve))
    ]
    return LabelCurveSection(file, curve, charts, tabulate(curve), remarks(curve))


def label_chart(title: str, curve: LabelCurve, metric_curve: MetricCurve) -> Markup:
    """Draw a metric over the logarithm of the number of labels: mean ± standard deviation over seeds."""
    _, factor, digits = SHOWN[metric_curve.metric]
    lines = {
        role: _line(metric_curve.points, role, factor)
        for role in _COLOURS
        if any(getattr(p, role) for p in metric_curve.points)
    }
    names = {role: str(getattr(metric_curve, role)) for role in lines}
    description = "; ".join(
        f"{names[role]} " + ", ".join(f"{mean:.{digits}f} at {labels}" for labels, mean, *_ in line)
        for role, line in lines.items()
    )
    canvas = Canvas(WIDTH, _HEIGHT, title, f"Over {curve.task} labels: {description}")
    xs = span(map(float, curve.labels))
    ys = span(
        value for line in lines.values() for _, mean, spread, _ in line for value in (mean - spread, mean + spread)
    )
    assert xs and ys, "a curve has labels, and a metric that some network has"
    across = Axis(*xs, 46, WIDTH - 26 - widest(names.values()), logarithmic=True)
    up = Axis(*ys, _HEIGHT - BOTTOM, TOP)
    draw_axes(canvas, across, up, f"frames with {curve.task} labels", ticks=_ticks(curve.labels, across))
    for role, line in lines.items():
        canvas.add('<g class="k{}">', _COLOURS[role])
        canvas.path([(across(n), up(mean)) for n, mean, *_ in line], "line")
        for n, mean, spread, seeds in line:
            canvas.line(across(n), up(mean - spread), across(n), up(mean + spread), "spread")
            text = (
                f"{names[role]}, {n} labels: {mean:.{digits}f} ± {spread:.{digits}f}, {seeds} seed{'s' * (seeds > 1)}"
            )
            circle = '<circle cx="{:.1f}" cy="{:.1f}" r="3.5" class="key"><title>{}</title></circle>'
            canvas.add(circle, across(n), up(mean), text)
        canvas.add("</g>")
    ends = [up(line[-1][1]) + 4 for line in lines.values()]
    for role, place in zip(lines, spread_apart(ends, 13, TOP + 4, _HEIGHT - BOTTOM), strict=True):
        draw_name(canvas, across.stop + 12, place, names[role], f"k{_COLOURS[role]}")
    return canvas.svg()


def _line(points: Sequence[Point], role: str, factor: float) -> list[tuple[int, float, float, int]]:
    """Return labels, mean and standard deviation over seeds, and their number, for the points that have values."""
    by_labels = [(point.labels, [factor * value for value in getattr(point, role).values()]) for point in points]
    return [
        (n, statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))
        for n, values in by_labels
        if values
    ]


def _ticks(labels: Sequence[int], across: Axis) -> list[tuple[float, str]]:
    """Return the budgets as ticks, without those that would overlap the previous one."""
    ticks: list[tuple[float, str]] = []
    for count in labels:
        if not ticks or across(count) - across(ticks[-1][0]) > 24:
            ticks.append((float(count), str(count)))
    return ticks


def _title(curve: MetricCurve) -> str:
    metric = METRICS[curve.metric]
    better = "lower" if metric.smaller_is_better else "higher"
    return f"{curve.task}: {metric.title}{metric.unit_suffix()}, {better} is better"
