"""The values of a label curve, by budget and seed, and derived figures: ``curve.json`` and ``curve.csv``.

``curve.json`` holds the measured values and, for readers, the derived figures; :func:`read` reads only the former and
computes the latter again.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from analysis.curve.saved import Equivalent, LabelSavings, label_savings
from analysis.results.headlines import HEADLINE, SHOWN, SMALLER_IS_BETTER
from analysis.results.interval import LEVEL, Interval, bounds, holm, interval, p_two_sided, paired_interval
from shards.atomic import read_json
from shards.errors import UserError
from shards.schema import from_json, not_stored, to_json

FILE = "curve.json"
ROLES = ("baseline", "student", "teacher")
_BEYOND = {1: "more", -1: "fewer", 0: None}
_OTHER = "holds no label curve"
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
        curves: one for each of the student's tasks and each metric that tables show.
        notes: sentences on values that are left out.
        facts: further facts on the runs: configuration, overrides, folders, environment.
    """

    dataset: str
    task: str
    student: str
    labels: tuple[int, ...]
    seeds: tuple[int, ...]
    curves: tuple[MetricCurve, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = not_stored(default_factory=dict)

    def p_values(self) -> dict[tuple[str, str, int], float]:
        """Return the p values of the verdicts, by task, metric and number of labels: two-sided, of each difference in a
        headline metric over two seeds or more, adjusted for all of them together (:func:`holm`)."""
        differences = {
            (curve.task, curve.metric, point.labels): difference
            for curve in self.curves
            for point in curve.points
            if curve.metric in HEADLINE and (difference := point.difference) and difference.count > 1
        }
        return dict(zip(differences, holm([*map(p_two_sided, differences.values())]), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``curve.json``."""
        entry = to_json(self) | {"level": LEVEL, **self.facts}
        for curve, curve_entry in zip(self.curves, entry["curves"], strict=True):
            curve_entry["better"] = "lower" if curve.smaller_is_better else "higher"
            for point, point_entry in zip(curve.points, curve_entry["points"], strict=True):
                point_entry |= _derived_as_json(curve, point)
        return entry


def read(file: str | Path) -> LabelCurve:
    """Read the curves in a ``curve.json``, without metrics that no network has, as old files hold.

    Raises:
        UserError: when it is missing, damaged, or not a label curve.
    """
    entry = read_json(file, _CURE)
    curve = from_json(LabelCurve, entry, _OTHER, file, _CURE)
    for number, metric_curve in enumerate(curve.curves):
        if metric_curve.metric not in SHOWN:
            message = f"{_OTHER}: {metric_curve.metric!r} is not a metric of one"
            raise UserError(message, file=file, key=f"curves.{number}.metric", hint=_CURE)
    stored = {"level", *(field.name for field in fields(LabelCurve))}
    facts = {key: value for key, value in entry.items() if key not in stored}
    return replace(curve, curves=tuple(curve for curve in curve.curves if curve.is_measured), facts=facts)


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
    for metric_curve in curve.curves:
        for point in metric_curve.points:
            line: dict[str, Any] = {"dataset": curve.dataset, "task": metric_curve.task, "metric": metric_curve.metric}
            line["labels"] = point.labels
            for role in ROLES:
                values = list(getattr(point, role).values())
                line |= {role: getattr(metric_curve, role), f"{role}_seeds": len(values)}
                if values:
                    mean_interval = interval(values)
                    line |= {f"{role}_mean": mean_interval.mean, f"{role}_deviation": mean_interval.deviation}
            if point.difference:
                lead = bounds(point.difference)
                line |= {"difference": lead.mean, "difference_low": lead.low, "difference_high": lead.high}
            line["gap_closed"] = metric_curve.gap_closed(point)
            if savings := metric_curve.savings(point):
                line |= {"baseline_labels": savings.mean.labels, "beyond": _BEYOND[savings.mean.beyond]}
                for name, bound in (("low", savings.low), ("high", savings.high)):
                    if bound:
                        line |= {f"baseline_labels_{name}": bound.labels, f"{name}_beyond": _BEYOND[bound.beyond]}
                line["saved"] = savings.factor
            writer.writerow(line)
    return buffer.getvalue()


def _derived_as_json(curve: MetricCurve, point: Point) -> dict[str, Any]:
    """Return the figures that follow from a point's values."""
    differences = {"difference": point.difference, "gap": point.gap}
    entry = {name: value and to_json(bounds(value)) for name, value in differences.items()}
    savings = curve.savings(point)
    return entry | {"gap_closed": curve.gap_closed(point), "saved": savings and _savings_as_json(savings)}


def _savings_as_json(savings: LabelSavings) -> dict[str, Any]:
    def equivalent_as_json(equivalent: Equivalent) -> dict[str, Any]:
        return {"labels": equivalent.labels, "beyond": _BEYOND[equivalent.beyond]}

    seeds = {str(seed): equivalent_as_json(equivalent) for seed, equivalent in savings.seeds.items()}
    ends: dict[str, Any] = {}
    for name, bound in (("low", savings.low), ("high", savings.high)):
        ends[name] = bound and bound.labels
        ends[f"{name}_beyond"] = bound and _BEYOND[bound.beyond]
    return {"factor": savings.factor, "baseline": equivalent_as_json(savings.mean), **ends, "seeds": seeds}
