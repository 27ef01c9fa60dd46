"""Label curves as tables: a row for each number of labels."""

from collections.abc import Sequence

from analysis.curve.labelcurve import ROLES, LabelCurve, MetricCurve, Point
from analysis.curve.saved import Saved
from analysis.curve.words import reach, sentence
from analysis.curve.words import spell as labels_in_words
from analysis.results.comparison import verdict
from analysis.results.headlines import HEADLINES, signed, spell, title_of
from analysis.results.interval import LEVEL
from analysis.results.table import Results


def tabulate(curve: LabelCurve) -> list[Results]:
    """A table for each metric, with its sentence as a note."""
    tasks = list(dict.fromkeys(each.task for each in curve.metrics))
    return [_table(curve, each, title_of(each.task, each.metric, tasks)) for each in curve.metrics]


def _table(curve: LabelCurve, each: MetricCurve, title: str) -> Results:
    roles = [role for role in ROLES if getattr(each, role)]
    titles = [f"{curve.task} labels"]
    titles += [f"{title} {getattr(each, role)}{' (ceiling)' * (role == 'teacher')}" for role in roles]
    if each.baseline:
        titles += ["difference", f"{LEVEL:.0%} interval", "verdict"]
        titles += ["gap closed", f"as good as {each.baseline} with", "× labels", "seeds"]
    return Results(titles, [_row(each, point, roles) for point in each.points], [sentence(each, title)])


def _row(curve: MetricCurve, point: Point, roles: Sequence[str]) -> list[str]:
    _, factor, digits = HEADLINES[curve.metric]
    row = [str(point.labels), *(spell([*getattr(point, role).values()], curve.metric) for role in roles)]
    if not curve.baseline:
        return row
    found, closed, worth = point.difference, curve.closed(point), curve.saved(point)
    if found is None:
        return [*row, *["–"] * 6, "0"]
    mean, low, high = (signed(factor * value, digits) for value in (found.mean, found.low, found.high))
    row += [mean, f"{low} … {high}" if found.count > 1 else "–"]
    row += [verdict(found, smaller_is_better=curve.smaller_is_better)]
    row += ["–" if closed is None else f"{100 * closed:.0f} %".replace("-", "−")]
    return [*row, *_worth(worth), str(found.count)]


def _worth(worth: Saved | None) -> tuple[str, str]:
    if worth is None:
        return "–", "–"
    sign = {1: "> ", -1: "< ", 0: ""}[worth.mean.beyond]
    return f"{labels_in_words(worth.mean)} ({reach(worth)})", f"{sign}{worth.factor:.2f}"
