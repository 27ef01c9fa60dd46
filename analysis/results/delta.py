"""ΔMTL: the relative improvement of a multi-task network over single-task networks, averaged over its tasks.

Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks: A Survey" (PAMI 2022), equation 10:
Δ = 1/T · Σ (−1)^l (M_multi − M_single) / M_single, where l is 1 for a metric that is better when smaller. Here M is
each task's headline metric, or the one that is asked for, and Δ is taken within a seed before it is averaged.

A single-task network is identified by its settings, not by its name: one output, RGB as the only input, ground truth
only, and otherwise the settings of the row. All tasks of a row are compared with networks of one decoder: the row's
own, or else plain heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from analysis.results.groups import Group, differing_settings, same_frames
from analysis.results.headlines import HEADLINE, METRICS, SMALLER_IS_BETTER, signed
from analysis.results.interval import LEVEL, Interval, interval
from trainer.definition import MTINET
from trainer.option import is_in

_LOSS_SETTINGS = ("loss",)
"""Settings that combine several losses, which do not matter to a single-task network."""


@dataclass(frozen=True)
class Delta:
    """The gain of a row over single-task networks.

    Args:
        change: relative change over seeds, as a fraction.
        singles: by task, the row of the single-task network.
        metrics: by task, the metric that is compared.
    """

    change: Interval
    singles: dict[str, Group]
    metrics: dict[str, str]


def deltas(groups: Sequence[Group], metrics: Mapping[str, str] | None = None) -> list[Delta | None]:
    """Return the ΔMTL of each group; None for networks of one task, for those that see an output as an input, and for
    those whose single-task networks are not complete, or lack a metric.

    Args:
        metrics: by task, the metric to compare, where it is not the headline metric.
    """
    return [_delta(group, groups, metrics or {}) for group in groups]


def _delta(group: Group, groups: Sequence[Group], metrics: Mapping[str, str]) -> Delta | None:
    tasks = group.first.tasks
    if len(tasks) < 2 or {*tasks} & {*group.first.inputs}:
        return None
    candidates = [single for single in groups if _is_single_task(single) and _is_comparable(group, single)]
    decoders = dict.fromkeys([_decoder(group), "heads", *(_decoder(single) for single in candidates)])
    for decoder in decoders:
        nearest = {task: _nearest(group, task, [s for s in candidates if _decoder(s) == decoder]) for task in tasks}
        singles = {task: single for task, single in nearest.items() if single}
        by_task = {task: metrics.get(task) or _headline(group, task) for task in singles}
        if len(singles) == len(tasks) and (changes := _changes(group, singles, by_task)):
            return Delta(interval(changes), singles, by_task)
    return None


def _is_single_task(group: Group) -> bool:
    first = group.first
    return len(first.tasks) == 1 and first.inputs == ["rgb"] and not any(first.pseudo_labels.values())


def _is_comparable(group: Group, single: Group) -> bool:
    if group.dataset != single.dataset:
        return False
    return all(is_in(key, _LOSS_SETTINGS) for key in differing_settings(group, single)) and same_frames(group, single)


def _decoder(group: Group) -> object:
    """Return the decoder of MTI-Net, or the name of another network, which has its own."""
    name = group.setting.get("model.name", MTINET)
    return group.setting.get("model.decoder") if name == MTINET else name


def _nearest(group: Group, task: str, singles: Sequence[Group]) -> Group | None:
    """Return a task's single-task network whose number of frames with ground truth is nearest to the row's."""
    of_task = [single for single in singles if single.first.tasks == [task]]
    return min(of_task, key=lambda single: abs(_frames(single, task) - _frames(group, task)), default=None)


def _frames(group: Group, task: str) -> int:
    return group.first.labels.get(task, 0)


def _headline(group: Group, task: str) -> str:
    return next((name for name in HEADLINE if name in group.first.metrics.get(task, {})), "")


def _changes(group: Group, singles: dict[str, Group], metrics: Mapping[str, str]) -> list[float]:
    """Return Δ of every seed for which all metrics are known."""
    by_task = []
    for task, single in singles.items():
        metric = metrics[task]
        multi_values, single_values = group.values(task, metric), single.values(task, metric)
        sign = -1 if metric in SMALLER_IS_BETTER else 1
        seeds = [seed for seed in multi_values if single_values.get(seed)]
        by_task.append(
            {seed: sign * (multi_values[seed] - single_values[seed]) / single_values[seed] for seed in seeds}
        )
    common = [seed for seed in by_task[0] if all(seed in task_changes for task_changes in by_task)]
    return [fmean(task_changes[seed] for task_changes in by_task) for seed in common]


def format_delta(delta: Delta | None) -> str:
    """Format ΔMTL in percent, with its interval if there are several seeds."""
    if delta is None:
        return "–"
    mean, low, high = (signed(100 * value, 2) for value in (delta.change.mean, delta.change.low, delta.change.high))
    return f"{mean} ({low} … {high})" if delta.change.count > 1 else mean


def explain_deltas(groups: Sequence[Group], changes: Sequence[Delta | None]) -> list[str]:
    """Return notes on ΔMTL and its reference rows, where these saw other labels or have another decoder."""
    if not any(changes):
        return []
    metrics = dict.fromkeys(metric for delta in changes if delta for metric in delta.metrics.values())
    title = " and ".join(METRICS[metric].title for metric in metrics)
    notes = [
        f"ΔMTL %: mean over tasks of the relative change of {title} against single-task networks, seed by seed, with "
        f"its {LEVEL:.0%} interval (Vandenhende et al., survey, eq. 10)"
    ]
    rows_by_reference: dict[str, list[str]] = {}
    for group, delta in zip(groups, changes, strict=True):
        for task, single in delta.singles.items() if delta else ():
            count, single_count = _frames(group, task), _frames(single, task)
            notes_on_labels = [f"which saw {single_count} frames with {task} and not {count}"] * (count != single_count)
            notes_on_decoder = [f"whose decoder is {_decoder(single)}"] if _decoder(single) != _decoder(group) else []
            if notes_on_labels or notes_on_decoder:
                reference = f"{single.experiment}, {' and '.join(notes_on_labels + notes_on_decoder)}"
                rows_by_reference.setdefault(reference, []).append(group.experiment)
    for reference, rows in rows_by_reference.items():
        notes.append(f"ΔMTL of {', '.join(dict.fromkeys(rows))}: against {reference}")
    return notes
