"""Differences between the rows of a table, seed by seed: is one network better than another, or is that chance?

Two networks of one seed saw the same frames, so their difference is taken within a seed before it is averaged
(:mod:`trainer.results.interval`). With few seeds most differences are undetermined, and that is then what can be said.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from trainer.results.headlines import HEADLINES, SMALLER_IS_BETTER, signed, title_of
from trainer.results.interval import LEVEL, Interval, needed, paired
from trainer.results.paper import Paper
from trainer.results.table import Group, Results, grouped, tasks_of, varying
from trainer.setting import OF_THE_ROW, is_in, same, word

_SEEDS = 50
"""More than these nobody will run: a difference that takes as many is called undetermined, and no more is said."""
_ALIKE = ("backbone", "pretrained", "size", "crop", "split", "checkpoint", "val", "val_seed", "manifest")
"""Settings that no comparison goes across."""
_TITLES = ("comparison", "metric", "difference", f"{LEVEL:.0%} interval", "seeds", "paper", "verdict")


def compare(results: Sequence[dict[str, Any]], paper: Paper) -> Results:
    """A row for each pair of ``paper.comparisons`` whose settings are the same, or else as much so as there are, and
    each metric that both have of an output that neither saw as an input. Where settings differ, the row says so."""
    groups = grouped(results, paper)
    pairs = list(_pairs(groups, paper.comparisons))
    settings = varying(groups)
    several = len({group.dataset for group in groups}) > 1
    tasks = tasks_of(results)
    rows = []
    for one, other in pairs:
        for task, metric in _metrics(one, other, tasks):
            ones, others = one.values(task, metric), other.values(task, metric)
            if ones.keys() & others.keys():
                found = paired(ones, others)
                row = [one.dataset] * several + [f"{one.experiment} − {other.experiment}"]
                row += [_settings(one, other, key) for key in settings]
                row += [title_of(task, metric, tasks), *_spelt(found, metric), str(found.count)]
                word = verdict(found, smaller_is_better=metric in SMALLER_IS_BETTER)
                rows.append([*row, _printed(one, other, task, metric, paper), word])
    first, *rest = _TITLES
    return Results(["data"] * several + [first, *settings, *rest], rows)


def verdict(found: Interval, *, smaller_is_better: bool) -> str:
    """A difference in plain words."""
    if found.sign:
        return "better" if (found.sign > 0) != smaller_is_better else "worse"
    if found.count == 1:
        return "undetermined: one seed"
    seeds = needed(found, most=_SEEDS)
    return f"undetermined: about {seeds} seeds would tell" if seeds else "undetermined"


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
                if not {*differing(left, right)} & {*_ALIKE}
            ]
            least = min((len(differing(*pair)) for pair in found), default=0)
            yield from [pair for pair in found if len(differing(*pair)) == least]


def differing(one: Group, other: Group) -> list[str]:
    """Settings in which two rows differ though the rows' names do not say so. Networks that were trained for as many
    epochs differ in their steps by the number of their frames alone."""
    keys = dict.fromkeys([*one.setting, *other.setting])
    differing = [key for key in keys if not same(one.setting.get(key), other.setting.get(key))]
    found = [key for key in differing if not is_in(key, OF_THE_ROW)]
    by_epochs = one.setting["epochs"] is not None and "epochs" not in found
    return [key for key in found if key != "steps" or not by_epochs]


def _settings(one: Group, other: Group, key: str) -> str:
    """A setting of both, or that of each."""
    return " / ".join(dict.fromkeys(word(of.setting.get(key)) for of in (one, other)))


def _metrics(one: Group, other: Group, tasks: Iterable[str]) -> list[tuple[str, str]]:
    seen = {*one.first["inputs"], *other.first["inputs"]}
    both = [task for task in tasks if task not in seen and all(task in of.first["metrics"] for of in (one, other))]
    return [(task, metric) for task in both for metric in HEADLINES if metric in one.first["metrics"][task]]


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
