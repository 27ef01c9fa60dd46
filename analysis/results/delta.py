"""ΔMTL: by how much a multi-task network is better than single-task networks, as the mean over its tasks.

Vandenhende et al., "Multi-Task Learning for Dense Prediction Tasks: A Survey" (PAMI 2022), equation 10:
Δ = 1/T · Σ (−1)^l (M_multi − M_single) / M_single, where l is 1 for a metric that is better when smaller. Here M is
each task's headline metric, and Δ is taken within a seed before it is averaged.

A single-task network is known by what it is, not by its name: one output, RGB alone as the input, ground truth alone,
and otherwise the settings of the row. All tasks of a row are compared with networks of one decoder: the row's own, or
else plain heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from analysis.results.groups import Group, differing, same_frames
from analysis.results.headlines import HEADLINES, JUDGED, SMALLER_IS_BETTER, signed
from analysis.results.interval import LEVEL, Interval, interval
from trainer.definition import MTINET
from trainer.option import is_in

_OF_SEVERAL = ("loss",)
"""Settings that say how several losses are joined, of which a single-task network has but one."""


@dataclass(frozen=True)
class Delta:
    """What a row gains over single-task networks.

    Args:
        change: over seeds, as a part of one.
        singles: the row of each task's single-task network.
    """

    change: Interval
    singles: dict[str, Group]


def deltas(groups: Sequence[Group]) -> list[Delta | None]:
    """Of each group; None for networks of one task, those that see an output as an input, and those whose single-task
    networks are not all there."""
    return [_delta(group, groups) for group in groups]


def _delta(group: Group, groups: Sequence[Group]) -> Delta | None:
    tasks = group.first.tasks
    if len(tasks) < 2 or {*tasks} & {*group.first.inputs}:
        return None
    single = [each for each in groups if _is_single(each) and _alike(group, each)]
    decoders = dict.fromkeys([_decoder(group), "heads", *(_decoder(each) for each in single)])
    for decoder in decoders:
        found = {task: _nearest(group, task, [s for s in single if _decoder(s) == decoder]) for task in tasks}
        singles = {task: each for task, each in found.items() if each}
        if len(singles) == len(tasks) and (changes := _changes(group, singles)):
            return Delta(interval(changes), singles)
    return None


def _is_single(group: Group) -> bool:
    first = group.first
    return len(first.tasks) == 1 and first.inputs == ["rgb"] and not any(first.pseudo_labels.values())


def _alike(group: Group, single: Group) -> bool:
    if group.dataset != single.dataset:
        return False
    return all(is_in(key, _OF_SEVERAL) for key in differing(group, single)) and same_frames(group, single)


def _decoder(group: Group) -> object:
    """MTI-Net's kind of decoder, or the name of another network, which has its own."""
    name = group.setting.get("model.name", MTINET)
    return group.setting.get("model.decoder") if name == MTINET else name


def _nearest(group: Group, task: str, singles: Sequence[Group]) -> Group | None:
    """The network of a task whose number of frames with ground truth is the nearest to the row's."""
    of_task = [each for each in singles if each.first.tasks == [task]]
    return min(of_task, key=lambda each: abs(_frames(each, task) - _frames(group, task)), default=None)


def _frames(group: Group, task: str) -> int:
    return group.first.labels.get(task, 0)


def _changes(group: Group, singles: dict[str, Group]) -> list[float]:
    """Δ of every seed of which all figures are known."""
    by_task = []
    for task, single in singles.items():
        metric = next((name for name in JUDGED if name in group.first.metrics.get(task, {})), "")
        ours, theirs = group.values(task, metric), single.values(task, metric)
        sign = -1 if metric in SMALLER_IS_BETTER else 1
        seeds = [seed for seed in ours if theirs.get(seed)]
        by_task.append({seed: sign * (ours[seed] - theirs[seed]) / theirs[seed] for seed in seeds})
    common = [seed for seed in by_task[0] if all(seed in each for each in by_task)]
    return [fmean(each[seed] for each in by_task) for seed in common]


def spelt(delta: Delta | None) -> str:
    """In percent, with its interval where there are several seeds."""
    if delta is None:
        return "–"
    mean, low, high = (signed(100 * value, 2) for value in (delta.change.mean, delta.change.low, delta.change.high))
    return f"{mean} ({low} … {high})" if delta.change.count > 1 else mean


def explained(groups: Sequence[Group], found: Sequence[Delta | None]) -> list[str]:
    """What ΔMTL is, and against which rows, as far as these saw other labels or have another decoder."""
    if not any(found):
        return []
    used = dict.fromkeys(metric for delta in found if delta for metric in _metrics(delta))
    title = " and ".join(HEADLINES[metric][0] for metric in used)
    notes = [
        f"ΔMTL %: mean over tasks of the relative change of {title} against single-task networks, seed by seed, with "
        f"its {LEVEL:.0%} interval (Vandenhende et al., survey, eq. 10)"
    ]
    others: dict[str, list[str]] = {}
    for group, delta in zip(groups, found, strict=True):
        for task, single in delta.singles.items() if delta else ():
            one, other = _frames(group, task), _frames(single, task)
            seen = [f"which saw {other} frames with {task} and not {one}"] if one != other else []
            built = [f"whose decoder is {_decoder(single)}"] if _decoder(single) != _decoder(group) else []
            if seen or built:
                others.setdefault(f"{single.experiment}, {' and '.join(seen + built)}", []).append(group.experiment)
    return notes + [f"ΔMTL of {', '.join(dict.fromkeys(rows))}: against {other}" for other, rows in others.items()]


def _metrics(delta: Delta) -> list[str]:
    measured = [single.first.metrics[task] for task, single in delta.singles.items()]
    return [next(name for name in JUDGED if name in metrics) for metrics in measured]
