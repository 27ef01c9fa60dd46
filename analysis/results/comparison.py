"""Differences between the rows of a table, seed by seed: is one network better than another, or is that chance?

Two networks of one seed saw the same frames, so their difference is taken within a seed before it is averaged
(:mod:`analysis.results.interval`). With few seeds most differences are undetermined, and that is then what can be said.
All verdicts of a table are given together (Holm), and only on each task's headline metric, since every further question
makes the others harder to answer.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from analysis.results.groups import Group, differing, grouped, same_frames, tasks_of, varying
from analysis.results.headlines import HEADLINES, JUDGED, SMALLER_IS_BETTER, signed, title_of
from analysis.results.interval import FIXED, LEVEL, POWER, Interval, holm, needed, p_either, paired
from analysis.results.paper import Paper
from analysis.results.table import Results
from trainer.option import is_in
from trainer.runs.result import Result
from trainer.setting import word

_SEEDS = 50
"""More than these nobody will run: a difference that takes as many is called undetermined, and no more is said."""
_ALIKE = ("backbone", "pretrained", "size", "crop", "split", "checkpoint", "val", "val_seed", "evaluate", "manifest")
"""Settings that no comparison goes across."""
_TITLES = ("comparison", "metric", "difference", f"{LEVEL:.0%} interval", "seeds", "p (Holm)", "paper", "verdict")


def compare(results: Sequence[Result], paper: Paper) -> Results:
    """A row for each pair of ``paper.comparisons`` whose settings are the same, or else as much so as there are, and
    each metric that both have of an output that neither saw as an input. Where settings differ, the row says so."""
    groups = grouped(results, paper)
    alike = list(_pairs(groups, paper.comparisons))
    pairs = [pair for pair in alike if same_frames(*pair)]
    settings = varying(groups)
    several = len({group.dataset for group in groups}) > 1
    tasks = tasks_of(results)
    found = {
        (one, other, task, metric): paired(ones, others)
        for one, other in pairs
        for task, metric in _metrics(one, other, tasks)
        if (ones := one.values(task, metric)).keys() & (others := other.values(task, metric)).keys()
    }
    tested = [place for place, each in found.items() if place[-1] in JUDGED and each.count > 1]
    sure = dict(zip(tested, holm([p_either(found[place]) for place in tested]), strict=True))
    rows = []
    for (one, other, task, metric), each in found.items():
        row = [one.dataset] * several + [f"{one.experiment} − {other.experiment}"]
        row += [_settings(one, other, key) for key in settings]
        row += [title_of(task, metric, tasks), *_spelt(each, metric), str(each.count)]
        p = sure.get((one, other, task, metric))
        smaller = metric in SMALLER_IS_BETTER
        said = verdict(each, smaller_is_better=smaller, p=p, tests=len(tested)) if metric in JUDGED else "–"
        rows.append([*row, "–" if p is None else f"{p:.2g}", _printed(one, other, task, metric, paper), said])
    first, *rest = _TITLES
    return Results(
        ["data"] * several + [first, *settings, *rest], rows, [*(_notes(len(tested)) if rows else []), *_apart(alike)]
    )


def verdict(found: Interval, *, smaller_is_better: bool, p: float | None = None, tests: int = 1) -> str:
    """A difference in plain words.

    Args:
        p: adjusted for all that is tested together; None where this is tested alone.
        tests: how many these are.
    """
    if found.count == 1:
        return "undetermined: one seed"
    if (p_either(found) if p is None else p) <= 1 - LEVEL:
        return "better" if (found.mean > 0) != smaller_is_better else "worse"
    seeds = needed(found, tests, most=_SEEDS)
    return f"undetermined: {seeds} seeds would tell" if seeds else "undetermined"


def _apart(pairs: Iterable[tuple[Group, Group]]) -> list[str]:
    """The pairs that are not compared, since what they were measured on differs."""
    return [
        f"{one.experiment} − {other.experiment}: not compared, for they were measured on different frames "
        f"({one.first.validation_frames} and {other.first.validation_frames})"
        for one, other in pairs
        if not same_frames(one, other)
    ]


def _notes(tests: int) -> list[str]:
    if not tests:
        return []
    return [
        f"verdicts: Holm's method over the {tests} differences in headline metrics, all right together with "
        f"{LEVEL:.0%} confidence; intervals: {LEVEL:.0%} each; N seeds would tell: in {POWER:.0%} of studies, were "
        "mean and deviation these",
        FIXED,
    ]


def _pairs(groups: Iterable[Group], comparisons: Iterable[tuple[str, str]]) -> Iterator[tuple[Group, Group]]:
    """Groups to compare: of one network and data, measured alike; and of these those that differ in the fewest other
    settings, none as a rule."""
    by_name: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        by_name.setdefault((group.dataset, group.experiment), []).append(group)
    for dataset in dict.fromkeys(dataset for dataset, _ in by_name):
        for one, other in comparisons:
            found = [
                (left, right)
                for left in by_name.get((dataset, one), ())
                for right in by_name.get((dataset, other), ())
                if not any(is_in(key, _ALIKE) for key in differing(left, right))
            ]
            least = min((len(differing(*pair)) for pair in found), default=0)
            yield from [pair for pair in found if len(differing(*pair)) == least]


def _settings(one: Group, other: Group, key: str) -> str:
    """A setting of both, or that of each."""
    return " / ".join(dict.fromkeys(word(of.setting.get(key)) for of in (one, other)))


def _metrics(one: Group, other: Group, tasks: Iterable[str]) -> list[tuple[str, str]]:
    seen = {*one.first.inputs, *other.first.inputs}
    both = [task for task in tasks if task not in seen and all(task in of.first.metrics for of in (one, other))]
    return [(task, metric) for task in both for metric in HEADLINES if metric in one.first.metrics[task]]


def _spelt(found: Interval, metric: str) -> tuple[str, str]:
    """The mean, and the interval."""
    _, factor, digits = HEADLINES[metric]
    mean, low, high = (signed(factor * value, digits) for value in (found.mean, found.low, found.high))
    return mean, f"{low} … {high}" if found.count > 1 else "–"


def _printed(one: Group, other: Group, task: str, metric: str, paper: Paper) -> str:
    """The difference of the paper's figures, with their digits."""
    left, right = (paper.figure(of.dataset, of.experiment, task, metric) for of in (one, other))
    if not left or not right or paper.why_not_comparable(one.dataset, task, metric):
        return "–"
    return f"{Decimal(left) - Decimal(right):+}".replace("-", "−")
