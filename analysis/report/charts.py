"""The charts of a report: lines, dots by experiment, shares against a threshold, reliability."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from analysis.report.confidence import THRESHOLDS, Counts
from analysis.report.svg import CHARACTER, WIDTH, Axis, Canvas, percent, span, spread_apart
from trainer.pseudolabels.kept import column

POINTS = 160
"""Maximum points of a line; if there are more, neighbours are averaged."""
_MAX_LABELS = 12  # lines that can be labelled at their ends
_MAX_LETTERS = 16  # of a label
TOP, BOTTOM = 10, 34
"""Margins of a chart above and below its grid."""


@dataclass(frozen=True)
class Line:
    """One run in a chart of lines. ``number`` is the colour of its experiment."""

    name: str
    number: int
    xs: Sequence[float]
    ys: Sequence[float]
    tooltip: str


@dataclass(frozen=True)
class Dots:
    """One experiment's row in a chart of dots: a value by seed; hollow if the output was also an input."""

    name: str
    number: int
    values: dict[int, float]
    hollow: bool = False


def line_chart(title: str, lines: Sequence[Line], x_title: str, height: float = 210) -> Markup:
    """Draw lines over a common x, labelled at their ends; logarithmic if the values span a decade."""
    ends = {line.number: (line.name, float(line.ys[-1])) for line in lines if math.isfinite(line.ys[-1])}
    description = "; ".join(f"{name} ends at {value:.4g}" for name, value in ends.values())
    canvas = Canvas(WIDTH, height, title, f"Lines over {x_title}: {description}")
    lines = [_thin(line) for line in lines]
    xs, ys = span(x for line in lines for x in line.xs), span(y for line in lines for y in line.ys)
    assert xs and ys, "lines hold at least one finite value"
    labelled = ends if len(ends) <= _MAX_LABELS else {}
    margin = 20 + widest(name for name, _ in labelled.values())
    across = Axis(*xs, 40, WIDTH - margin)
    up = Axis(*ys, height - BOTTOM, TOP, logarithmic=ys[0] > 0 and ys[1] > 10 * ys[0])
    draw_axes(canvas, across, up, x_title)
    for line in lines:
        points = zip(map(across, line.xs), map(up, line.ys), strict=True)
        kind = f"line k{line.number} x{line.number}" + (" dot" if len(line.xs) == 1 else "")
        canvas.path(points, kind, line.tooltip)
    places = spread_apart([up(value) + 4 for _, value in labelled.values()], 12, TOP + 4, height - BOTTOM + 4)
    for (number, (name, _)), place in zip(labelled.items(), places, strict=True):
        draw_name(canvas, across.stop + 8, place, name, f"k{number} x{number}")
    return canvas.svg()


def dot_chart(title: str, rows: Sequence[Dots], factor: float, digits: int) -> Markup:
    """Draw one row per experiment: a dot for each seed, a bar at their mean, and the mean as a number."""
    means = [factor * float(np.mean(list(row.values.values()))) for row in rows]
    numbers = [f"{mean:.{digits}f}" for mean in means]
    description = "; ".join(f"{row.name} {number}" for row, number in zip(rows, numbers, strict=True))
    height, step = 20 * len(rows) + TOP + BOTTOM, 20
    canvas = Canvas(WIDTH, height, title, description)
    left = 6 + CHARACTER * max(len(_shorten(row.name)) for row in rows)
    values = [factor * value for row in rows for value in row.values.values()]
    low, high = span(values) or (0, 1)
    padding = (high - low) * 0.06
    across = Axis(low - padding, high + padding, left + 8, WIDTH - 14 - 7 * max(map(len, numbers)))
    for value, text in across.ticks():
        canvas.line(across(value), TOP - 4, across(value), height - BOTTOM, "grid")
        canvas.text(across(value), height - BOTTOM + 14, text, anchor="middle")
    for place, (row, mean, number) in enumerate(zip(rows, means, numbers, strict=True)):
        y = TOP + step * (place + 0.5)
        canvas.add('<g class="k{0} x{0}">', row.number)
        canvas.text(left, y + 4, _shorten(row.name), "name", "end")
        canvas.line(left + 8, y, across.stop, y, "row")
        if len(row.values) > 1:
            canvas.line(across(mean), y - 7, across(mean), y + 7, "mean")
        for seed, value in row.values.items():
            kind, tooltip = "spot hollow" if row.hollow else "spot", f"{row.name}, seed {seed}: {factor * value:.4g}"
            circle = '<circle cx="{:.1f}" cy="{:.1f}" r="4" class="{}"><title>{}</title></circle>'
            canvas.add(circle, across(factor * value), y, kind, tooltip)
        canvas.text(WIDTH - 2, y + 4, number, "number", "end")
        canvas.add("</g>")
    return canvas.svg()


def threshold_chart(title: str, counts: Counts, number: int, thresholds: Sequence[float]) -> Markup:
    """Draw, over all classes, the share kept and the share of it that is right, against the threshold.

    Args:
        thresholds: those that students used, as vertical lines.
    """
    height = 230
    kept, right = counts.total.kept[0], counts.total.accuracy[0]
    texts = [
        f"at {limit:g} {_share_at(kept, limit)} kept, {_share_at(right, limit)} of it right" for limit in thresholds
    ]
    canvas = Canvas(WIDTH, height, title, "; ".join(texts))
    across, up = Axis(0, 1, 40, WIDTH - 58), Axis(0, 1, height - BOTTOM, TOP)
    draw_axes(canvas, across, up, "threshold", shares=True)
    for limit in thresholds:
        canvas.line(across(limit), TOP, across(limit), height - BOTTOM, "mark")
        canvas.text(across(limit) - 4, height - BOTTOM - 6, f"τ = {limit:g}", "tick", "end")
    for values, kind in ((kept, "line kept"), (right, f"line k{number}")):
        points = zip(map(across, THRESHOLDS), map(up, values.tolist()), strict=True)
        canvas.path(points, kind)
    ends = [float(values[np.isfinite(values)][-1]) for values in (kept, right) if np.isfinite(values).any()]
    places = spread_apart([up(end) + 4 for end in ends], 13, TOP + 4, height - BOTTOM)
    for name, place, kind in zip(("kept", "right"), places, ("", f"k{number}"), strict=False):
        draw_name(canvas, across.stop + 8, place, name, kind)
    return canvas.svg()


def reliability_chart(title: str, counts: Counts, number: int) -> Markup:
    """Draw accuracy in ten bins of confidence with the diagonal of perfect calibration; below, the share of pixels."""
    height, foot = 230, 34
    share, confidence, accuracy = counts.reliability()
    texts = [
        f"confidence {c:.2f}: {percent(a)} right" for c, a in zip(confidence, accuracy, strict=True) if math.isfinite(a)
    ]
    canvas = Canvas(WIDTH, height, title, "; ".join(texts))
    across, up = Axis(0, 1, 40, WIDTH - 12), Axis(0, 1, height - BOTTOM - foot, TOP)
    base, width = up(0), across(0.1) - across(0)
    draw_axes(canvas, Axis(0, 1, across.start, across.stop), up, "", shares=True, below=height - BOTTOM)
    canvas.text(WIDTH - 12, height - 4, "confidence", "axis", "end")
    for bin_, (part, average, correct) in enumerate(zip(share, confidence, accuracy, strict=True)):
        if not math.isfinite(correct):
            continue
        x, tall, low = across(bin_ / 10), up(correct), foot * 0.8 * part / np.nanmax(share)
        tooltip = f"confidence {average:.3f} on average: {percent(correct, 1)} right; {percent(part, 1)} of the pixels"
        bar = '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"><title>{}</title></rect>'
        canvas.add(bar, x + 1, tall, width - 2, base - tall, f"bar k{number}", tooltip)
        canvas.add(bar, x + 1, height - BOTTOM - low, width - 2, low, "bar faint", tooltip)
    canvas.line(across(0), up(0), across(1), up(1), "mark")
    return canvas.svg()


def class_chart(name: str, kept: np.ndarray, right: np.ndarray, number: int) -> Markup:
    """Draw a small chart of one class: the share kept and the share of it that is right, against the threshold."""
    width, height = 150, 78
    canvas = Canvas(
        width,
        height,
        name,
        f"Of the pixels kept at 0 and at 0.9, {_share_at(right, 0)} and "
        f"{_share_at(right, 0.9)} are right; {_share_at(kept, 0.9)} are kept at 0.9",
    )
    across, up = Axis(0, 1, 4, width - 4), Axis(0, 1, height - 6, 6)
    for level in (0, 0.5, 1):
        canvas.line(4, up(level), width - 4, up(level), "grid")
    for values, kind in ((kept, "line kept"), (right, f"line k{number}")):
        canvas.path(zip(map(across, THRESHOLDS), map(up, values.tolist()), strict=True), kind)
    return canvas.svg()


def draw_name(canvas: Canvas, x: float, y: float, name: str, kind: str) -> None:
    """Draw a line's name beside its end: text in the text colour, for legibility, after a dot in the line's colour."""
    canvas.add('<g class="{}"><circle cx="{:.1f}" cy="{:.1f}" r="3.5" class="key"/>', kind, x, y - 4)
    canvas.text(x + 7, y, _shorten(name), "name")
    canvas.add("</g>")


def _shorten(name: str) -> str:
    """Shorten a name in its middle, since its end distinguishes settings."""
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS // 2]}…{name[-_MAX_LETTERS // 2 + 1 :]}"


def widest(names: Iterable[str]) -> float:
    """Return the width of the widest name of a line."""
    return max((len(_shorten(name)) * CHARACTER for name in names), default=0)


def draw_axes(
    canvas: Canvas,
    across: Axis,
    up: Axis,
    x_title: str,
    shares: bool = False,
    below: float = 0,
    ticks: Sequence[tuple[float, str]] | None = None,
) -> None:
    """Draw grid, ticks and the title of x. ``below`` is the position of the ticks of x, by default the foot of the
    grid, and ``ticks`` are their values and texts, by default round values."""
    foot = below or up.start
    for value, text in up.ticks():
        canvas.line(across.start, up(value), across.stop, up(value), "grid")
        canvas.text(across.start - 5, up(value) + 4, f"{100 * value:.0f} %" if shares else text, anchor="end")
    for value, text in across.ticks(4) if ticks is None else ticks:
        canvas.text(across(value), foot + 14, text, anchor="middle")
    canvas.text(across.stop, foot + 29, x_title, "axis", "end")


def _thin(line: Line) -> Line:
    """Return the line with neighbours averaged if it has more than ``POINTS`` points."""
    xs, ys = np.asarray(line.xs, float), np.asarray(line.ys, float)
    if len(xs) > POINTS:
        parts = np.array_split(np.arange(len(xs)), POINTS)
        xs, ys = (np.array([values[part].mean() for part in parts]) for values in (xs, ys))
    return Line(line.name, line.number, xs.tolist(), ys.tolist(), line.tooltip)


def _share_at(values: np.ndarray, threshold: float) -> str:
    """Return the share at a threshold in percent."""
    return percent(float(values[column(threshold)]))
