"""The values of a label curve, from the results of its networks, and which of them may be compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.curve.labelcurve import ROLES, MetricCurve, Point, read
from analysis.results.groups import measured_on_same_frames
from analysis.results.headlines import SHOWN
from shards.errors import UserError
from trainer.experiment import Experiment
from trainer.runs.result import Result

Results = Mapping[Path, Result]
"""By the folder of the run."""


@dataclass(frozen=True)
class Networks:
    """The networks of one number of labels and one seed.

    Args:
        baselines: each metric is compared with the first that predicts its task.
    """

    student: Experiment
    baselines: Sequence[Experiment]

    @property
    def compared(self) -> list[Experiment]:
        """The baselines and the student, in the order in which they are run."""
        return [*self.baselines, self.student]

    def in_role(self, role: str, task: str) -> Experiment | None:
        """Return the network with a role in the curve of a task; None if there is none."""
        if role == "student":
            return self.student
        if role == "baseline":
            candidates = self.baselines
        else:
            teachers = self.student.teachers
            candidates = [teachers[task]] if task in teachers else list(teachers.values())
        return next((cell for cell in candidates if _predicts(cell, task)), None)


ByBudget = Mapping[tuple[int, int], Networks]
"""By number of labels and seed."""


def measured_before(file: Path, dataset: str, task: str, student: str) -> set[tuple[int, int]]:
    """Return the numbers of labels and seeds of a student's curve in a file, as that of an earlier command with other
    ones; none where the file holds no such curve."""
    try:
        curve = read(file)
    except UserError:  # there is none, or it is damaged and made again
        return set()
    if (curve.dataset, curve.task, curve.student) != (dataset, task, student):
        return set()
    points = [point for metric_curve in curve.curves for point in metric_curve.points]
    return {(point.labels, seed) for point in points for role in ROLES for seed in getattr(point, role)}


def note_gone(keys: Iterable[tuple[int, int]]) -> list[str]:
    """Return notes on numbers of labels and seeds of an earlier curve of which there are no such runs now."""
    by_count: dict[int, list[str]] = {}
    for count, seed in sorted(keys):
        by_count.setdefault(count, []).append(str(seed))
    return [
        f"{count} labels, seed {', '.join(seeds)}: left out, though in an earlier curve, since the runs are gone or of "
        "other settings or data"
        for count, seeds in by_count.items()
    ]


def metric_curves(networks: ByBudget, results: Results) -> tuple[list[MetricCurve], list[str]]:
    """Return a curve for each metric of tables that a student has, of all networks that were measured on the frames of
    their seed's student, and notes on the networks that were not, whose values are left out."""
    first = next(iter(networks.values())).student.config
    notes: dict[str, None] = {}
    curves: list[MetricCurve] = []
    for task in first.tasks:
        by_role = {role: _comparable_results(role, task, networks, results, notes) for role in ROLES}
        students = by_role["student"].values()
        # of a task that no validation frame shows, every metric is None
        measured = [name for name in SHOWN if any(result.metric(task, name) is not None for result in students)]
        curves += [_metric_curve(task, name, networks, by_role) for name in measured]
    return curves, list(notes)


def _comparable_results(
    role: str, task: str, networks: ByBudget, results: Results, notes: dict[str, None]
) -> dict[tuple[int, int], Result]:
    """Return the results of the networks with a role, by number of labels and seed, and add notes on those left out."""
    comparable = {}
    for (count, seed), group in networks.items():
        network = group.in_role(role, task)
        result = results.get(network.folder) if network else None
        if result is None:
            continue
        student = _student_of_seed(count, seed, networks, results)
        if student and not measured_on_same_frames(result, student):
            notes[
                f"{result.experiment}, seed {seed}: left out, since it was measured on other validation frames than "
                f"{student.experiment} ({result.validation_frames} and {student.validation_frames})"
            ] = None
            continue
        comparable[count, seed] = result
    return comparable


def _student_of_seed(count: int, seed: int, networks: ByBudget, results: Results) -> Result | None:
    """Return the student's result with this number of labels, or else with another one, which has the same frames."""
    counts = [count, *(other for other, other_seed in networks if other_seed == seed)]
    students = (results.get(networks[other, seed].student.folder) for other in counts)
    return next((result for result in students if result), None)


def _metric_curve(
    task: str, metric: str, networks: ByBudget, by_role: Mapping[str, Mapping[tuple[int, int], Result]]
) -> MetricCurve:
    first = next(iter(networks.values()))
    named = [first.in_role(role, task) for role in ("baseline", "teacher")]
    baseline, teacher = (network.config.experiment if network else None for network in named)

    def values(role: str, count: int) -> dict[int, float]:
        by_seed = {seed: result.metric(task, metric) for (n, seed), result in by_role[role].items() if n == count}
        return {seed: value for seed, value in sorted(by_seed.items()) if value is not None}

    counts = sorted({count for count, _ in networks})
    points = tuple(Point(count, *(values(role, count) for role in ROLES)) for count in counts)
    return MetricCurve(task, metric, first.student.config.experiment, baseline, teacher, points)


def _predicts(cell: Experiment, task: str) -> bool:
    """Whether a network predicts a task without seeing it."""
    return task in cell.config.tasks and task not in cell.config.inputs
