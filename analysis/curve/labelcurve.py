"""The values of a label curve, by budget and seed, with what follows from them: ``curve.json`` and ``curve.csv``.

``curve.json`` holds what was measured and, for readers, what follows; :meth:`LabelCurve.from_json` reads the former and
computes the latter again.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from analysis.curve.saved import Equivalent, Saved, saved
from analysis.results.headlines import HEADLINES, SMALLER_IS_BETTER
from analysis.results.interval import LEVEL, Interval, interval, paired
from shards.atomic import read_json
from shards.errors import UserError

FILE = "curve.json"
ROLES = ("baseline", "student", "teacher")
_BEYOND = {1: "more", -1: "fewer", 0: None}
_CURE = "make it again: `tutelage curve CONFIG` keeps all runs that are finished"

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Point:
    """One metric of the networks with one number of labels, by seed; empty where a network does not have it."""

    labels: int
    baseline: BySeed = field(default_factory=dict)
    student: BySeed = field(default_factory=dict)
    teacher: BySeed = field(default_factory=dict)

    @property
    def difference(self) -> Interval | None:
        """Student minus baseline, over the seeds that both have."""
        both = self.student.keys() & self.baseline.keys()
        return paired(self.student, self.baseline) if both else None

    @property
    def gap(self) -> Interval | None:
        """Teacher minus baseline, over the seeds that both have."""
        both = self.teacher.keys() & self.baseline.keys()
        return paired(self.teacher, self.baseline) if both else None


@dataclass(frozen=True)
class MetricCurve:
    """One metric of one task over the number of labels.

    Args:
        baseline, teacher: names of the experiments; None where no network without pseudo-labels predicts the task, or
            no teacher does that does not see it.
        points: the smallest number of labels first.
    """

    task: str
    metric: str
    student: str
    baseline: str | None
    teacher: str | None
    points: tuple[Point, ...]

    @property
    def smaller_is_better(self) -> bool:
        return self.metric in SMALLER_IS_BETTER

    def closed(self, point: Point) -> float | None:
        """The part of the gap between baseline and teacher that the student closes: a ratio of mean differences, over
        the seeds that have all three; None where the teacher is not ahead of the baseline."""
        seeds = point.student.keys() & point.baseline.keys() & point.teacher.keys()
        gap = sum(point.teacher[seed] - point.baseline[seed] for seed in seeds)
        lead = sum(point.student[seed] - point.baseline[seed] for seed in seeds)
        return lead / gap if (-gap if self.smaller_is_better else gap) > 0 else None

    def saved(self, point: Point) -> Saved | None:
        """With how many labels the baseline would be as good as the student at a point; None where one is missing."""
        baseline = {each.labels: each.baseline for each in self.points if each.baseline}
        return saved(baseline, point.labels, point.student, smaller_is_better=self.smaller_is_better)


@dataclass(frozen=True)
class LabelCurve:
    """All curves of one student.

    Args:
        dataset: its name.
        task: the one whose labels are scarce, and counted.
        metrics: a curve for each headline metric of each of the student's tasks.
        facts: what else is to be noted of the runs: configuration, overrides, folders, environment.
    """

    dataset: str
    task: str
    student: str
    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    metrics: tuple[MetricCurve, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What ``curve.json`` holds."""
        return {
            "dataset": self.dataset,
            "task": self.task,
            "student": self.student,
            "labels": list(self.labels),
            "seeds": list(self.seeds),
            "level": LEVEL,
            "curves": [_curve_as_json(curve) for curve in self.metrics],
            **self.facts,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "LabelCurve":
        """What :meth:`to_json` wrote.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: when it is something else.
        """
        own = ("dataset", "task", "student", "labels", "seeds", "level", "curves")
        return cls(
            str(entry["dataset"]),
            str(entry["task"]),
            str(entry["student"]),
            tuple(int(count) for count in entry["labels"]),
            tuple(int(seed) for seed in entry["seeds"]),
            tuple(_curve_from_json(each) for each in entry["curves"]),
            {key: value for key, value in entry.items() if key not in own},
        )


def read(file: str | Path) -> LabelCurve:
    """The curves in a ``curve.json``.

    Raises:
        UserError: when it is missing, damaged, or something else.
    """
    entry = read_json(file, _CURE)
    try:
        return LabelCurve.from_json(entry)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError("holds no label curve", file=file, hint=_CURE) from error


def as_csv(curve: LabelCurve) -> str:
    """A line for each metric and number of labels, with numbers as they are; empty where something is not known."""
    titles = ["dataset", "task", "metric", "labels"]
    titles += [f"{role}{of}" for role in ROLES for of in ("", "_mean", "_deviation", "_seeds")]
    titles += ["difference", "difference_low", "difference_high", "gap_closed"]
    titles += ["baseline_labels", "beyond", "baseline_labels_low", "baseline_labels_high", "saved"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, titles, lineterminator="\n")
    writer.writeheader()
    for each in curve.metrics:
        for point in each.points:
            line: dict[str, Any] = {"dataset": curve.dataset, "task": each.task, "metric": each.metric}
            line["labels"] = point.labels
            for role in ROLES:
                values = list(getattr(point, role).values())
                line |= {role: getattr(each, role), f"{role}_seeds": len(values)}
                if values:
                    found = interval(values)
                    line |= {f"{role}_mean": found.mean, f"{role}_deviation": found.deviation}
            if lead := point.difference:
                line |= {"difference": lead.mean, "difference_low": _finite(lead.low)}
                line["difference_high"] = _finite(lead.high)
            line["gap_closed"] = each.closed(point)
            if worth := each.saved(point):
                line |= {"baseline_labels": worth.mean.labels, "beyond": _BEYOND[worth.mean.beyond]}
                line |= {"baseline_labels_low": worth.low, "baseline_labels_high": worth.high, "saved": worth.factor}
            writer.writerow(line)
    return buffer.getvalue()


def _curve_as_json(curve: MetricCurve) -> dict[str, Any]:
    points = []
    for point in curve.points:
        worth = curve.saved(point)
        values = {role: {str(seed): value for seed, value in getattr(point, role).items()} for role in ROLES}
        follows = {
            "difference": _interval_as_json(point.difference),
            "gap": _interval_as_json(point.gap),
            "gap_closed": curve.closed(point),
            "saved": _saved_as_json(worth) if worth else None,
        }
        points.append({"labels": point.labels, **values, **follows})
    better = "lower" if curve.smaller_is_better else "higher"
    names = {"task": curve.task, "metric": curve.metric, "better": better}
    return names | {role: getattr(curve, role) for role in ROLES} | {"points": points}


def _curve_from_json(entry: Mapping[str, Any]) -> MetricCurve:
    points = tuple(
        Point(int(each["labels"]), *({int(seed): float(value) for seed, value in each[role].items()} for role in ROLES))
        for each in entry["points"]
    )
    metric, student = str(entry["metric"]), str(entry["student"])
    if metric not in HEADLINES:
        raise ValueError(metric)
    baseline, teacher = (None if entry[role] is None else str(entry[role]) for role in ("baseline", "teacher"))
    return MetricCurve(str(entry["task"]), metric, student, baseline, teacher, points)


def _interval_as_json(found: Interval | None) -> dict[str, Any] | None:
    """JSON has no infinity, which one seed's bounds have."""
    return {name: _finite(value) for name, value in asdict(found).items()} if found else None


def _saved_as_json(worth: Saved) -> dict[str, Any]:
    def spelt(each: Equivalent) -> dict[str, Any]:
        return {"labels": each.labels, "beyond": _BEYOND[each.beyond]}

    seeds = {str(seed): spelt(each) for seed, each in worth.seeds.items()}
    bounds = {"low": worth.low, "high": worth.high}
    return {"factor": worth.factor, "baseline": spelt(worth.mean), **bounds, "seeds": seeds}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
