"""A label curve in words: with how many labels the baseline would be as good as the student."""

from collections.abc import Mapping

from analysis.curve.labelcurve import LabelCurve, MetricCurve
from analysis.curve.saved import Equivalent, LabelSavings
from analysis.results.comparison import verdict_notes
from analysis.results.headlines import title_of
from analysis.results.interval import LEVEL, p_two_sided


def titles(curve: LabelCurve) -> list[str]:
    """Return the title of each metric."""
    metrics = [(metric_curve.task, metric_curve.metric) for metric_curve in curve.curves]
    return [title_of(task, metric, metrics) for task, metric in metrics]


def sentences(curve: LabelCurve) -> list[str]:
    """Return a sentence for each metric."""
    p_values = curve.p_values()
    texts = []
    for metric_curve, title in zip(curve.curves, titles(curve), strict=True):
        key = metric_curve.task, metric_curve.metric
        p_by_labels = {labels: p for (*other, labels), p in p_values.items() if tuple(other) == key}
        texts.append(sentence(metric_curve, title, p_by_labels))
    return texts


def remarks(curve: LabelCurve) -> list[str]:
    """Return sentences on the curve as a whole: on its verdicts, and on what is missing or left out."""
    missing = curve.facts.get("missing")
    unfinished = [f"{missing} of its runs were not finished when it was written"] if missing else []
    return [*verdict_notes(len(curve.p_values())), *unfinished, *curve.notes]


def sentence(curve: MetricCurve, title: str, p_values: Mapping[int, float] | None = None) -> str:
    """Return what the student's labels are worth in one metric, for every number of labels.

    Args:
        p_values: those of the verdicts by number of labels. Where there is none, as for metrics without a verdict,
            a difference counts as determined if its own interval excludes zero.
    """
    if curve.baseline is None:
        return f"{title}: no baseline predicts {curve.task}; --baseline CONFIG names one that does"
    parts: list[str] = []
    for point in curve.points:
        savings, lead = curve.savings(point), point.difference
        if savings and lead:
            p = (p_values or {}).get(point.labels, p_two_sided(lead))
            undetermined = ", undetermined" if p > 1 - LEVEL and lead.count > 1 else ""
            parts.append(_spell_point(curve, savings, first=not parts) + undetermined)
    return f"{title}: {'; '.join(parts) or f'no seed has both {curve.student} and {curve.baseline}'}"


def spell_labels(number: Equivalent) -> str:
    """Return a number of labels in words."""
    return {1: "more than ", -1: "fewer than ", 0: ""}[number.beyond] + f"{number.labels:.0f}"


def spell_uncertainty(savings: LabelSavings) -> str:
    """Return the uncertainty of a number of labels in words; empty where it has no interval and all seeds agree."""
    if savings.low is not None and savings.high is not None:
        return f"{LEVEL:.0%} interval {spell_labels(savings.low)} to {spell_labels(savings.high)}"
    if len(savings.seeds) == 1:
        return "one seed"
    by_seed = [spell_labels(number) for number in savings.seeds.values()]
    return f"by seed: {', '.join(by_seed)}" if len(set(by_seed)) > 1 else ""


def _spell_point(curve: MetricCurve, savings: LabelSavings, *, first: bool) -> str:
    """Return the words on one number of labels; the first part also names the networks."""
    student, baseline = (f" {curve.student} is", f" {curve.baseline}") if first else ("", "")
    if savings.mean.beyond and savings.mean.labels == savings.labels:
        position = f"ahead{f' of{baseline}' if first else ''}" if savings.mean.beyond > 0 else f"behind{baseline}"
        return f"with {savings.labels} labels{student} {position} ({_spell_edge(savings)})"
    if _is_ahead(savings):
        return f"with {savings.labels} labels{student} as good as{baseline} with {_spell_savings(savings)}"
    compared = f" of{baseline}" if first else ""
    return f"with {savings.labels} labels{student} not ahead{compared} ({_spell_deficit(savings)})"


def _spell_savings(savings: LabelSavings) -> str:
    times = f"{'more than ' * (savings.mean.beyond > 0)}{savings.factor:.1f} × the labels"
    return f"{spell_labels(savings.mean)} ({_joined(times, spell_uncertainty(savings))})"


def _spell_deficit(savings: LabelSavings) -> str:
    return _joined(f"as good as with {spell_labels(savings.mean)}", spell_uncertainty(savings))


def _spell_edge(savings: LabelSavings) -> str:
    """Return the words on a lead at the largest measured number of labels, or a deficit at the smallest."""
    extreme = "largest" if savings.mean.beyond > 0 else "smallest"
    agreement = "one seed" if len(savings.seeds) == 1 else "seeds disagree" * (spell_uncertainty(savings) != "")
    text = f"by how many labels cannot be read off: {savings.labels} is the {extreme} number measured"
    return _joined(text, agreement)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _is_ahead(savings: LabelSavings) -> bool:
    """Whether the baseline needs more labels, as a mean over seeds."""
    return savings.mean.labels > savings.labels or savings.mean.beyond > 0
