"""The values of a label curve, by budget and seed, and derived figures: ``curve.json`` and ``curve.csv``.

``curve.json`` holds the measured values and, for readers, the derived figures; :meth:`LabelCurve.from_json` reads only
the former and computes the latter again.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from analysis.curve.saved import Equivalent, LabelSavings, label_savings
from analysis.results.headlines import HEADLINES, JUDGED, SMALLER_IS_BETTER
from analysis.results.interval import LEVEL, Interval, holm, interval, p_two_sided, paired_interval
from shards.atomic import read_json
from shards.errors import UserError

FILE = "curve.json"
ROLES = ("baseline", "student", "teacher")
_BEYOND = {1: "more", -1: "fewer", 0: None}
_CURE = "make it again: `tutelage curve CONFIG` keeps all runs that are finished"

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Point:
    """One metric of the networks trained with one number of labels, by seed; empty where a network lacks it."""

    labels: int
    baseline: BySeed = field(default_factory=dict)
    student: BySeed = field(default_factory=dict)
    teacher: BySeed = field(default_factory=dict)

    @property
    def complete_seeds(self) -> set[int]:
        """The seeds with all three networks."""
        return self.student.keys() & self.baseline.keys() & self.teacher.keys()

    @property
    def difference(self) -> Interval | None:
        """Student minus baseline, over the seeds that both have."""
        common = self.student.keys() & self.baseline.keys()
        return paired_interval(self.student, self.baseline) if common else None

    @property
    def gap(self) -> Interval | None:
        """Teacher minus baseline, over the seeds that both have."""
        common = self.teacher.keys() & self.baseline.keys()
        return paired_interval(self.teacher, self.baseline) if common else None


@dataclass(frozen=True)
class MetricCurve:
    """One metric of one task over the number of labels.

    Args:
        baseline, teacher: names of the experiments; None where no network without pseudo-labels predicts the task, or
            no teacher predicts it without seeing it.
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

    @property
    def is_measured(self) -> bool:
        """Whether any network has a value. None has for a task that no validation frame shows."""
        return any(getattr(point, role) for point in self.points for role in ROLES)

    def gap_closed(self, point: Point) -> float | None:
        """Return the fraction of the gap between baseline and teacher that the student closes: a ratio of mean
        differences over the seeds with all three networks; None where the teacher is not ahead of the baseline."""
        seeds = point.complete_seeds
        gap = sum(point.teacher[seed] - point.baseline[seed] for seed in seeds)
        lead = sum(point.student[seed] - point.baseline[seed] for seed in seeds)
        return lead / gap if (-gap if self.smaller_is_better else gap) > 0 else None

    def savings(self, point: Point) -> LabelSavings | None:
        """Return the number of labels that the baseline needs to match the student; None where one is missing."""
        baseline = {other.labels: other.baseline for other in self.points if other.baseline}
        return label_savings(baseline, point.labels, point.student, smaller_is_better=self.smaller_is_better)


@dataclass(frozen=True)
class LabelCurve:
    """All curves of one student.

    Args:
        dataset: its name.
        task: the task whose labels are scarce and counted.
        metrics: a curve for each headline metric of each of the student's tasks.
        notes: sentences on values that are left out.
        facts: further facts on the runs: configuration, overrides, folders, environment.
    """

    dataset: str
    task: str
    student: str
    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    metrics: tuple[MetricCurve, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def p_values(self) -> dict[tuple[str, str, int], float]:
        """Return the p values of the verdicts, by task, metric and number of labels: two-sided, of each difference in a
        headline metric over two seeds or more, adjusted for all of them together (:func:`holm`)."""
        differences = {
            (curve.task, curve.metric, point.labels): difference
            for curve in self.metrics
            for point in curve.points
            if curve.metric in JUDGED and (difference := point.difference) and difference.count > 1
        }
        return dict(zip(differences, holm([*map(p_two_sided, differences.values())]), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``curve.json``."""
        return {
            "dataset": self.dataset,
            "task": self.task,
            "student": self.student,
            "labels": list(self.labels),
            "seeds": list(self.seeds),
            "level": LEVEL,
            "curves": [_curve_as_json(curve) for curve in self.metrics],
            "notes": list(self.notes),
            **self.facts,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "LabelCurve":
        """Rebuild a curve from the output of :meth:`to_json`, without metrics that no network has, as old files hold.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: when the entry has another form.
        """
        known_keys = ("dataset", "task", "student", "labels", "seeds", "level", "curves", "notes")
        return cls(
            str(entry["dataset"]),
            str(entry["task"]),
            str(entry["student"]),
            tuple(int(count) for count in entry["labels"]),
            tuple(int(seed) for seed in entry["seeds"]),
            tuple(curve for curve in map(_curve_from_json, entry["curves"]) if curve.is_measured),
            tuple(str(note) for note in entry.get("notes", ())),
            {key: value for key, value in entry.items() if key not in known_keys},
        )


def read(file: str | Path) -> LabelCurve:
    """Read the curves in a ``curve.json``.

    Raises:
        UserError: when it is missing, damaged, or not a label curve.
    """
    entry = read_json(file, _CURE)
    try:
        return LabelCurve.from_json(entry)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError("holds no label curve", file=file, hint=_CURE) from error


def as_csv(curve: LabelCurve) -> str:
    """Return a line for each metric and number of labels, with unrounded numbers; unknown values are empty."""
    titles = ["dataset", "task", "metric", "labels"]
    titles += [f"{role}{suffix}" for role in ROLES for suffix in ("", "_mean", "_deviation", "_seeds")]
    titles += ["difference", "difference_low", "difference_high", "gap_closed"]
    titles += ["baseline_labels", "beyond", "baseline_labels_low", "low_beyond", "baseline_labels_high", "high_beyond"]
    titles += ["saved"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, titles, lineterminator="\n")
    writer.writeheader()
    for metric_curve in curve.metrics:
        for point in metric_curve.points:
            line: dict[str, Any] = {"dataset": curve.dataset, "task": metric_curve.task, "metric": metric_curve.metric}
            line["labels"] = point.labels
            for role in ROLES:
                values = list(getattr(point, role).values())
                line |= {role: getattr(metric_curve, role), f"{role}_seeds": len(values)}
                if values:
                    mean_interval = interval(values)
                    line |= {f"{role}_mean": mean_interval.mean, f"{role}_deviation": mean_interval.deviation}
            if lead := point.difference:
                line |= {"difference": lead.mean, "difference_low": _finite(lead.low)}
                line["difference_high"] = _finite(lead.high)
            line["gap_closed"] = metric_curve.gap_closed(point)
            if savings := metric_curve.savings(point):
                line |= {"baseline_labels": savings.mean.labels, "beyond": _BEYOND[savings.mean.beyond]}
                for name, bound in (("low", savings.low), ("high", savings.high)):
                    if bound:
                        line |= {f"baseline_labels_{name}": bound.labels, f"{name}_beyond": _BEYOND[bound.beyond]}
                line["saved"] = savings.factor
            writer.writerow(line)
    return buffer.getvalue()


def _curve_as_json(curve: MetricCurve) -> dict[str, Any]:
    points = []
    for point in curve.points:
        savings = curve.savings(point)
        values = {role: {str(seed): value for seed, value in getattr(point, role).items()} for role in ROLES}
        derived = {
            "difference": _interval_as_json(point.difference),
            "gap": _interval_as_json(point.gap),
            "gap_closed": curve.gap_closed(point),
            "saved": _savings_as_json(savings) if savings else None,
        }
        points.append({"labels": point.labels, **values, **derived})
    better = "lower" if curve.smaller_is_better else "higher"
    names = {"task": curve.task, "metric": curve.metric, "better": better}
    return names | {role: getattr(curve, role) for role in ROLES} | {"points": points}


def _curve_from_json(entry: Mapping[str, Any]) -> MetricCurve:
    points = tuple(
        Point(
            int(point["labels"]), *({int(seed): float(value) for seed, value in point[role].items()} for role in ROLES)
        )
        for point in entry["points"]
    )
    metric, student = str(entry["metric"]), str(entry["student"])
    if metric not in HEADLINES:
        raise ValueError(metric)
    baseline, teacher = (None if entry[role] is None else str(entry[role]) for role in ("baseline", "teacher"))
    return MetricCurve(str(entry["task"]), metric, student, baseline, teacher, points)


def _interval_as_json(interval: Interval | None) -> dict[str, Any] | None:
    """Return an interval with null for the infinite bounds of a single seed, which JSON cannot express."""
    return {name: _finite(value) for name, value in asdict(interval).items()} if interval else None


def _savings_as_json(savings: LabelSavings) -> dict[str, Any]:
    def equivalent_as_json(equivalent: Equivalent) -> dict[str, Any]:
        return {"labels": equivalent.labels, "beyond": _BEYOND[equivalent.beyond]}

    seeds = {str(seed): equivalent_as_json(equivalent) for seed, equivalent in savings.seeds.items()}
    bounds: dict[str, Any] = {}
    for name, bound in (("low", savings.low), ("high", savings.high)):
        bounds[name] = bound and bound.labels
        bounds[f"{name}_beyond"] = bound and _BEYOND[bound.beyond]
    return {"factor": savings.factor, "baseline": equivalent_as_json(savings.mean), **bounds, "seeds": seeds}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
