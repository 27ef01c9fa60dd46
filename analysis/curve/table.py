"""Label curves as tables with a row for each number of labels."""

from collections.abc import Sequence

from analysis.curve.labelcurve import ROLES, LabelCurve, MetricCurve, Point
from analysis.curve.saved import LabelSavings
from analysis.curve.words import sentence, spell_labels, spell_uncertainty
from analysis.results.comparison import verdict
from analysis.results.headlines import HEADLINES, format_values, signed, title_of
from analysis.results.interval import LEVEL
from analysis.results.table import Results


def tabulate(curve: LabelCurve) -> list[Results]:
    """Return a table for each metric, with its sentence as a note."""
    tasks = list(dict.fromkeys(metric_curve.task for metric_curve in curve.metrics))
    return [
        _table(curve, metric_curve, title_of(metric_curve.task, metric_curve.metric, tasks))
        for metric_curve in curve.metrics
    ]


def _table(curve: LabelCurve, metric_curve: MetricCurve, title: str) -> Results:
    roles = [role for role in ROLES if getattr(metric_curve, role)]
    titles = [f"{curve.task} labels"]
    titles += [f"{title} {getattr(metric_curve, role)}{' (ceiling)' * (role == 'teacher')}" for role in roles]
    if metric_curve.baseline:
        titles += ["difference", f"{LEVEL:.0%} interval", "verdict"]
        titles += ["gap closed", f"as good as {metric_curve.baseline} with", "× labels", "seeds"]
    return Results(
        titles, [_row(metric_curve, point, roles) for point in metric_curve.points], [sentence(metric_curve, title)]
    )


def _row(curve: MetricCurve, point: Point, roles: Sequence[str]) -> list[str]:
    _, factor, digits = HEADLINES[curve.metric]
    row = [str(point.labels), *(format_values([*getattr(point, role).values()], curve.metric) for role in roles)]
    if not curve.baseline:
        return row
    difference, closed, savings = point.difference, curve.gap_closed(point), curve.savings(point)
    if difference is None:
        return [*row, *["–"] * 6, "0"]
    mean, low, high = (signed(factor * value, digits) for value in (difference.mean, difference.low, difference.high))
    row += [mean, f"{low} … {high}" if difference.count > 1 else "–"]
    row += [verdict(difference, smaller_is_better=curve.smaller_is_better)]
    row += ["–" if closed is None else f"{100 * closed:.0f} %".replace("-", "−")]
    return [*row, *_savings_cells(savings), str(difference.count)]


def _savings_cells(savings: LabelSavings | None) -> tuple[str, str]:
    if savings is None:
        return "–", "–"
    sign = {1: "> ", -1: "< ", 0: ""}[savings.mean.beyond]
    return f"{spell_labels(savings.mean)} ({spell_uncertainty(savings)})", f"{sign}{savings.factor:.2f}"
