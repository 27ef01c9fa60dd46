"""Label curves as tables with a row for each number of labels."""

from collections.abc import Mapping

from analysis.curve.labelcurve import ROLES, LabelCurve, MetricCurve, Point
from analysis.curve.saved import LabelSavings
from analysis.curve.words import sentences, spell_labels, spell_uncertainty, titles
from analysis.results.comparison import verdict
from analysis.results.headlines import HEADLINES, JUDGED, format_values, signed
from analysis.results.interval import LEVEL
from analysis.results.table import Results


def tabulate(curve: LabelCurve) -> list[Results]:
    """Return a table for each metric, with its sentence as a note. Verdicts are on headline metrics alone, and all of
    them are corrected together (:meth:`LabelCurve.p_values`)."""
    return [
        _table(curve, metric_curve, title, words)
        for metric_curve, title, words in zip(curve.metrics, titles(curve), sentences(curve), strict=True)
    ]


def _table(curve: LabelCurve, metric_curve: MetricCurve, title: str, words: str) -> Results:
    roles = [role for role in ROLES if getattr(metric_curve, role)]
    columns = [f"{curve.task} labels"]
    columns += [f"{title} {getattr(metric_curve, role)}{' (ceiling)' * (role == 'teacher')}" for role in roles]
    if metric_curve.baseline:
        columns += ["difference", f"{LEVEL:.0%} interval", "verdict"]
        columns += ["gap closed", f"as good as {metric_curve.baseline} with", "× labels", "seeds"]
    p_values = curve.p_values()
    rows = []
    for point in metric_curve.points:
        row = [str(point.labels)]
        row += [format_values([*getattr(point, role).values()], metric_curve.metric) for role in roles]
        if metric_curve.baseline:
            row += _comparison(metric_curve, point, p_values)
        rows.append(row)
    return Results(columns, rows, [words])


def _comparison(curve: MetricCurve, point: Point, p_values: Mapping[tuple[str, str, int], float]) -> list[str]:
    """Return the cells that compare student and baseline."""
    _, factor, digits = HEADLINES[curve.metric]
    difference, closed, savings = point.difference, curve.gap_closed(point), curve.savings(point)
    if difference is None:
        return [*["–"] * 6, "0"]
    mean, low, high = (signed(factor * value, digits) for value in (difference.mean, difference.low, difference.high))
    answer = "–"
    if curve.metric in JUDGED:
        p = p_values.get((curve.task, curve.metric, point.labels))
        answer = verdict(difference, smaller_is_better=curve.smaller_is_better, p=p, tests=len(p_values))
    return [
        mean,
        f"{low} … {high}" if difference.count > 1 else "–",
        answer,
        "–" if closed is None else f"{100 * closed:.0f} %".replace("-", "−"),
        *_savings_cells(savings),
        str(difference.count),
    ]


def _savings_cells(savings: LabelSavings | None) -> tuple[str, str]:
    if savings is None:
        return "–", "–"
    sign = {1: "> ", -1: "< ", 0: ""}[savings.mean.beyond]
    return f"{spell_labels(savings.mean)} ({spell_uncertainty(savings)})", f"{sign}{savings.factor:.2f}"
