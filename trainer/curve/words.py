"""A label curve as a sentence: with how many labels the baseline would be as good as the student."""

from trainer.curve.labelcurve import LabelCurve, MetricCurve
from trainer.curve.saved import Equivalent, Saved
from trainer.results.headlines import title_of
from trainer.results.interval import LEVEL


def sentences(curve: LabelCurve) -> list[str]:
    """A sentence for each metric."""
    tasks = list(dict.fromkeys(each.task for each in curve.metrics))
    return [sentence(each, title_of(each.task, each.metric, tasks)) for each in curve.metrics]


def sentence(curve: MetricCurve, title: str) -> str:
    """What the student's labels are worth in one metric, with every number of labels."""
    if curve.baseline is None:
        return f"{title}: no network without pseudo-labels was trained that predicts {curve.task}"
    worths = [worth for point in curve.points if (worth := curve.saved(point))]
    if not worths:
        return f"{title}: no seed has both {curve.student} and {curve.baseline}"
    parts = [_first(curve, worths[0])] + [f"with {worth.labels} {_as(worth)}" for worth in worths[1:]]
    return f"{title}: {'; '.join(parts)}"


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


def _first(curve: MetricCurve, worth: Saved) -> str:
    own = f"with {worth.labels} labels {curve.student} is"
    if _ahead(worth):
        return f"{own} as good as {curve.baseline} with {_worth(worth)}"
    return f"{own} not ahead of {curve.baseline} ({_behind(worth)})"


def _as(worth: Saved) -> str:
    return f"as good as with {_worth(worth)}" if _ahead(worth) else f"not ahead ({_behind(worth)})"


def _worth(worth: Saved) -> str:
    times = f"{'more than ' * (worth.mean.beyond > 0)}{worth.factor:.1f} × the labels"
    return f"{spell(worth.mean)} ({times}; {reach(worth)})"


def _behind(worth: Saved) -> str:
    return f"as good as with {spell(worth.mean)}; {reach(worth)}"


def _ahead(worth: Saved) -> bool:
    """Whether the baseline needs more labels, as a mean over seeds."""
    return worth.mean.labels > worth.labels or worth.mean.beyond > 0
