"""Label curves as tables with a row for each number of labels."""

import re
from collections.abc import Mapping, Sequence

from analysis.curve.labelcurve import ROLES, LabelCurve, MetricCurve, Point
from analysis.curve.saved import LabelSavings
from analysis.curve.words import sentences, spell_labels, spell_uncertainty, titles
from analysis.results.comparison import verdict
from analysis.results.headlines import HEADLINE, SHOWN, format_values, signed
from analysis.results.interval import LEVEL, Interval
from analysis.results.table import Results

PValues = Mapping[tuple[str, str, int], float]
"""By task, metric and number of labels."""
_SEEDS_MARK = re.compile(r"\(\d+ seeds?\)$")
_SEEDS_NOTE = "(n seeds): of n seeds, while the row compares the seeds that student and baseline both have"


def tabulate(curve: LabelCurve) -> list[Results]:
    """Return a table for each metric, with its sentence as a note. Verdicts are on headline metrics alone, and all of
    them are corrected together (:meth:`LabelCurve.p_values`)."""
    return [
        _table(curve, metric_curve, title, words)
        for metric_curve, title, words in zip(curve.curves, titles(curve), sentences(curve), strict=True)
    ]


def _table(curve: LabelCurve, metric_curve: MetricCurve, title: str, words: str) -> Results:
    roles = [role for role in ROLES if getattr(metric_curve, role)]
    columns = [f"{curve.task} labels"]
    columns += [f"{title} {getattr(metric_curve, role)}{' (ceiling)' * (role == 'teacher')}" for role in roles]
    if metric_curve.baseline:
        columns += ["difference", f"{LEVEL:.0%} interval", "verdict"]
        columns += ["gap closed", f"as good as {metric_curve.baseline} with", "× labels"]
    columns += ["seeds"]
    p_values = curve.p_values()
    rows = [_row(metric_curve, point, roles, p_values) for point in metric_curve.points]
    marked = any(_SEEDS_MARK.search(cell) for row in rows for cell in row)
    return Results(columns, rows, [words, _SEEDS_NOTE] if marked else [words])


def _row(curve: MetricCurve, point: Point, roles: Sequence[str], p_values: PValues) -> list[str]:
    difference = point.difference if curve.baseline else None
    seeds = (difference.count if difference else 0) if curve.baseline else len(point.student)
    row = [str(point.labels)]
    for role in roles:
        values = [*getattr(point, role).values()]
        row.append(format_values(values, curve.metric) + _mark_seeds(len(values), seeds))
    if curve.baseline:
        row += _comparison(curve, point, difference, p_values) if difference else ["–"] * 6
    return [*row, str(seeds)]


def _mark_seeds(count: int, seeds: int) -> str:
    """Return the number of seeds of a cell if it is not that of its row."""
    return "" if count in (0, seeds) else f" ({count} seed{'s' * (count > 1)})"


def _comparison(curve: MetricCurve, point: Point, difference: Interval, p_values: PValues) -> list[str]:
    """Return the cells that compare student and baseline."""
    _, factor, digits = SHOWN[curve.metric]
    closed = curve.gap_closed(point)
    mean, low, high = (signed(factor * value, digits) for value in (difference.mean, difference.low, difference.high))
    answer, gap = "–", "–"
    if curve.metric in HEADLINE:
        p = p_values.get((curve.task, curve.metric, point.labels))
        answer = verdict(difference, smaller_is_better=curve.smaller_is_better, p=p, tests=len(p_values))
    if closed is not None:
        gap = f"{100 * closed:.0f} %".replace("-", "−") + _mark_seeds(len(point.complete_seeds), difference.count)
    interval = f"{low} … {high}" if difference.count > 1 else "–"
    return [mean, interval, answer, gap, *_savings_cells(curve.savings(point))]


def _savings_cells(savings: LabelSavings | None) -> tuple[str, str]:
    if savings is None:
        return "–", "–"
    sign = {1: "> ", -1: "< ", 0: ""}[savings.mean.beyond]
    uncertainty = spell_uncertainty(savings)
    return spell_labels(savings.mean) + f" ({uncertainty})" * bool(uncertainty), f"{sign}{savings.factor:.2f}"
