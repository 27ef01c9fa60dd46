"""The contents of a report: runs in groups of the same setting, their data sets, task affinities, label curves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.behind import affinity_files, curve_files, folders_behind
from analysis.report import affinity, labelcurves
from analysis.results.groups import Group as Rows
from analysis.results.groups import group_results, read_result, result_files, varying_settings
from analysis.results.paper import Paper
from shards.errors import UserError
from shards.manifest import NAME as MANIFEST
from shards.manifest import Manifest
from shards.store import place
from shards.tasks import Task
from trainer.experiment import Experiment
from trainer.model.architecture import Architecture
from trainer.runs import artifacts, records, status
from trainer.runs.result import NAME, Result
from trainer.setting import format_value, same


@dataclass(frozen=True)
class Run:
    """One finished run: its folder, and the row of its ``result.json``."""

    folder: Path
    result: Result

    @property
    def seed(self) -> int:
        return self.result.seed

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of its ``metrics.jsonl``; none if the file is gone."""
        return records.read(self.folder / "metrics.jsonl")

    @property
    def config(self) -> str:
        """The text of its resolved configuration; empty if the file is gone."""
        path = self.folder / "config.yaml"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def experiment(self, manifest: Manifest) -> Experiment:
        """Return its experiment on the data set at its present place."""
        return Experiment.of_run(self.folder, manifest.folder)


@dataclass(frozen=True, eq=False)  # groups are compared by identity
class Group:
    """The runs of one experiment with one setting, which differ only in their seeds.

    Args:
        name: name of the experiment; if it is not unique, with the unusual settings.
        number: number of its colour, the same in all charts of a report.
        rows: the same runs as a group of the tables.
    """

    name: str
    number: int
    runs: list[Run]
    rows: Rows

    @property
    def first(self) -> Run:
        """The run of the smallest seed, which represents the group in pictures."""
        return min(self.runs, key=lambda run: run.seed)

    @property
    def result(self) -> Result:
        return self.first.result

    def scores(self, task: str, metric: str) -> dict[int, float]:
        """Return a metric by seed, for the seeds that have it."""
        return self.rows.values(task, metric)


@dataclass
class Part:
    """The runs on one data set.

    Args:
        manifest: that of the data set, None if it cannot be read any more.
        missing: the reason why it cannot.
    """

    name: str
    groups: list[Group]
    manifest: Manifest | None = None
    missing: str = ""
    _tasks: dict[str, Task] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """The tasks that its networks predict."""
        return list(dict.fromkeys(task for group in self.groups for task in group.result.tasks))

    def task(self, name: str) -> Task | None:
        """Return a task's definition from the data set, or else from a network that predicts it, if any."""
        if name not in self._tasks:
            tasks = list(self.manifest.tasks) if self.manifest else []
            for group in self.groups:
                tasks += _tasks_of(group.first) if name not in [task.name for task in tasks] else []
            self._tasks |= {task.name: task for task in tasks}
        return self._tasks.get(name)


@dataclass
class ReportContents:
    """Everything that a report shows; ``unfinished`` describes runs that are not finished."""

    runs: list[Run]
    parts: list[Part]
    affinities: list[affinity.Matrix]
    label_curves: list[labelcurves.LabelCurveSection] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def collect(paths: Sequence[str | Path], data: Sequence[str | Path] = ()) -> ReportContents:
    """Collect the runs under the given runs, experiments or folders, and the affinities and label curves among them.

    Args:
        data: folders of data sets, for runs whose data set was moved.

    Raises:
        UserError: when a path holds neither a result nor an affinity or label curve, one is damaged, or ``data`` names
            no data set.
    """
    manifests = [Manifest.load(path) for path in data]
    matrices: dict[Path, affinity.Matrix] = {}
    curves: dict[Path, labelcurves.LabelCurveSection] = {}
    files: dict[Path, None] = {}
    started: dict[Path, None] = {}
    for path in map(Path, paths):
        matrices |= (path_matrices := {file.resolve(): affinity.read(file) for file in affinity_files(path)})
        curves |= (path_curves := {file.resolve(): labelcurves.read_section(file) for file in curve_files(path)})
        if not (path_matrices or path_curves) or any(path.rglob(NAME)):
            # the runs behind an affinity or curve are shown by it alone, unless their folder is given
            inner = [folder for folders in folders_behind(path).values() for folder in folders]
            files |= {file: None for file in result_files([path]) if not any(map(file.is_relative_to, inner))}
            status_files = (file.resolve() for file in sorted(path.rglob(status.NAME)))
            started |= {file.parent: None for file in status_files if not any(map(file.is_relative_to, inner))}
    runs = [Run(file.parent, read_result(file)) for file in files]
    unfinished = [_describe_unfinished(folder) for folder in started if not (folder / NAME).exists()]
    return ReportContents(runs, _parts(runs, manifests), list(matrices.values()), list(curves.values()), unfinished)


def _describe_unfinished(folder: Path) -> str:
    last_status = status.current(folder)
    return f"{folder} ({last_status.stage}: {last_status.state})" if last_status else str(folder)


def _parts(runs: list[Run], manifests: Sequence[Manifest]) -> list[Part]:
    """Group runs by data set, identified by its manifest, since two data sets may have the same name."""
    by_data: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by_data.setdefault((run.result.dataset, run.result.asked.manifest), []).append(run)
    names = [name for name, _ in by_data]
    parts, number = [], 0
    for (name, sha256), part_runs in by_data.items():
        groups = _groups(part_runs, number)
        number += len(groups)
        part = Part(f"{name} {sha256[:8]}" if names.count(name) > 1 else name, groups)
        try:
            part.manifest = _data_set(next((run for run in part_runs if run.config), part_runs[0]), sha256, manifests)
        except UserError as error:
            part.missing = str(error)
        parts.append(part)
    return parts


def _groups(runs: list[Run], start: int) -> list[Group]:
    run_of_result = {id(run.result): run for run in runs}
    all_rows = group_results((run.result for run in runs), Paper.load())
    groups = []
    for number, rows in enumerate(all_rows):
        namesakes = [other for other in all_rows if other.experiment == rows.experiment]
        unusual = [
            key for key in varying_settings(namesakes) if not same(rows.setting.get(key), _most_common(all_rows, key))
        ]
        words = ", ".join(f"{key} {format_value(rows.setting.get(key))}" for key in unusual)
        name = f"{rows.experiment} ({words})" if words else rows.experiment
        groups.append(Group(name, start + number, [run_of_result[id(result)] for result in rows.results], rows))
    return groups


def _most_common(groups: Sequence[Rows], key: str) -> Any:
    """Return the most common value of a setting."""
    values = [group.setting.get(key) for group in groups]
    return max(values, key=lambda value: sum(same(value, other) for other in values))


def _data_set(run: Run, sha256: str, manifests: Sequence[Manifest]) -> Manifest:
    """Return the manifest that a run was evaluated on, from ``manifests`` or its configured place."""
    for manifest in manifests:
        if manifest.sha256 == sha256:
            return manifest
    hint = "give its place: --data DATASET"
    experiment = Experiment.of_run(run.folder)
    folder = place(experiment.config.data.path)
    if not (folder / MANIFEST).exists():
        raise UserError("the data set is not there any more", file=folder, key="data.path", hint=hint)
    manifest = experiment.manifest  # through the run's own data.cache
    if manifest.sha256 != sha256:
        raise UserError("is not the data set that the runs were evaluated on", file=folder, hint=hint)
    return manifest


def _tasks_of(run: Run) -> list[Task]:
    """Return the tasks of a run's network from its checkpoint; none if that is gone."""
    try:
        facts = artifacts.read_exported(run.folder / "checkpoints" / "last")
        return list(Architecture.from_json(facts["architecture"]).tasks) if facts else []
    except UserError:
        return []
