"""A label curve as a sentence: with how many labels the baseline would be as good as the student."""

from analysis.curve.labelcurve import LabelCurve, MetricCurve
from analysis.curve.saved import Equivalent, Saved
from analysis.results.headlines import title_of
from analysis.results.interval import LEVEL


def sentences(curve: LabelCurve) -> list[str]:
    """A sentence for each metric."""
    tasks = list(dict.fromkeys(each.task for each in curve.metrics))
    return [sentence(each, title_of(each.task, each.metric, tasks)) for each in curve.metrics]


def sentence(curve: MetricCurve, title: str) -> str:
    """What the student's labels are worth in one metric, with every number of labels."""
    if curve.baseline is None:
        return f"{title}: no baseline predicts {curve.task}; --baseline CONFIG names one that does"
    parts: list[str] = []
    for point in curve.points:
        worth, lead = curve.saved(point), point.difference
        if worth and lead:
            known = lead.sign != 0 or lead.count == 1
            parts.append(_part(curve, worth, first=not parts) + ("" if known else ", undetermined"))
    return f"{title}: {'; '.join(parts) or f'no seed has both {curve.student} and {curve.baseline}'}"


def spell(found: Equivalent) -> str:
    """A number of labels in words."""
    return {1: "more than ", -1: "fewer than ", 0: ""}[found.beyond] + f"{found.labels:.0f}"


def reach(worth: Saved) -> str:
    """How sure a number of labels is."""
    if worth.low is not None and worth.high is not None:
        return f"{LEVEL:.0%} interval {worth.low:.0f} to {worth.high:.0f}"
    if len(worth.seeds) == 1:
        return "one seed"
    return "by seed: " + ", ".join(spell(each) for each in worth.seeds.values())


def _part(curve: MetricCurve, worth: Saved, *, first: bool) -> str:
    """One number of labels; the first one names the networks."""
    student, baseline = (f" {curve.student} is", f" {curve.baseline}") if first else ("", "")
    if _ahead(worth):
        return f"with {worth.labels} labels{student} as good as{baseline} with {_worth(worth)}"
    of = f" of{baseline}" if first else ""
    return f"with {worth.labels} labels{student} not ahead{of} ({_behind(worth)})"


def _worth(worth: Saved) -> str:
    times = f"{'more than ' * (worth.mean.beyond > 0)}{worth.factor:.1f} × the labels"
    return f"{spell(worth.mean)} ({times}; {reach(worth)})"


def _behind(worth: Saved) -> str:
    return f"as good as with {spell(worth.mean)}; {reach(worth)}"


def _ahead(worth: Saved) -> bool:
    """Whether the baseline needs more labels, as a mean over seeds."""
    return worth.mean.labels > worth.labels or worth.mean.beyond > 0
