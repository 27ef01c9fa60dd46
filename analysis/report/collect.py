"""What a report is made of: runs in groups of the same setting, the data set they belong to, task affinities, label
curves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.curve.labelcurve import FILE as CURVE
from analysis.report import affinity, labelcurves
from analysis.results.groups import Group as Rows
from analysis.results.groups import grouped, read_result, result_files, varying
from analysis.results.paper import Paper
from shards.errors import UserError
from shards.manifest import NAME as MANIFEST
from shards.manifest import Manifest
from shards.store import place
from shards.tasks import Task
from trainer.affinity import BEFORE, located
from trainer.affinity import NAME as AFFINITY
from trainer.experiment import Experiment
from trainer.model.architecture import Architecture
from trainer.runs import checkpoint, records, status
from trainer.runs.result import NAME, Result
from trainer.setting import same, word


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
        """The lines of its ``metrics.jsonl``; none where it is gone."""
        return records.read(self.folder / "metrics.jsonl")

    @property
    def config(self) -> str:
        """Its resolved configuration as it stands there; empty where it is gone."""
        path = self.folder / "config.yaml"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def experiment(self, manifest: Manifest) -> Experiment:
        """The experiment that it is a run of, on the data set where that is now."""
        return Experiment.of_run(self.folder, manifest.folder)


@dataclass(frozen=True, eq=False)  # told apart by which it is
class Group:
    """The runs of one experiment with one setting, which differ in their seeds.

    Args:
        name: of the experiment; where others have the same, with what is unusual in its settings.
        number: of its colour, the same in all charts of a report.
        rows: the same runs as the tables know them.
    """

    name: str
    number: int
    runs: list[Run]
    rows: Rows

    @property
    def first(self) -> Run:
        """The run of the smallest seed, which stands for the others in pictures."""
        return min(self.runs, key=lambda run: run.seed)

    @property
    def result(self) -> Result:
        return self.first.result

    def scores(self, task: str, metric: str) -> dict[int, float]:
        """A metric by seed, where it was measured."""
        return self.rows.values(task, metric)


@dataclass
class Part:
    """The runs on one data set.

    Args:
        manifest: the data set's, None where it cannot be read any more.
        missing: why it cannot.
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
        """What is known of a task: from the data set, or else from a network that predicts it."""
        if name not in self._tasks:
            known = list(self.manifest.tasks) if self.manifest else []
            for group in self.groups:
                known += _tasks_of(group.first) if name not in [task.name for task in known] else []
            self._tasks |= {task.name: task for task in known}
        return self._tasks.get(name)


@dataclass
class Collected:
    """Everything that a report shows, and what of runs that are not finished."""

    runs: list[Run]
    parts: list[Part]
    affinities: list[affinity.Matrix]
    label_curves: list[labelcurves.Shown] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def collect(paths: Sequence[str | Path], data: Sequence[str | Path] = ()) -> Collected:
    """The runs under the given runs, experiments or whole folders, and the affinities and label curves that lie among
    them.

    Args:
        data: folders of data sets, for runs whose configuration names a place where theirs is not any more.

    Raises:
        UserError: when a path holds neither a result nor an affinity or label curve, one is damaged, or ``data`` names
            no data set.
    """
    moved = [Manifest.load(path) for path in data]
    matrices: dict[Path, affinity.Matrix] = {}
    curves: dict[Path, labelcurves.Shown] = {}
    files: dict[Path, None] = {}
    begun: dict[Path, None] = {}
    for path in map(Path, paths):
        found, curved = _affinities(path), _named(path, CURVE)
        matrices |= {file.resolve(): affinity.read(file) for file in found}
        shown = [labelcurves.show(file) for file in curved]
        curves |= {each.file.resolve(): each for each in shown}
        if not (found or curved) or any(path.rglob(NAME)):
            # the runs that an affinity or curve was measured with are shown by it, unless they are asked for
            inner = [file.resolve().parent for file in found if file.parent != path]
            inner += [folder for each in shown for folder in each.folders]
            files |= {file: None for file in result_files([path]) if not any(map(file.is_relative_to, inner))}
            notes = (file.resolve() for file in sorted(path.rglob(status.NAME)))
            begun |= {file.parent: None for file in notes if not any(map(file.is_relative_to, inner))}
    runs = [Run(file.parent, read_result(file)) for file in files]
    unfinished = [_how_far(folder) for folder in begun if not (folder / NAME).exists()]
    return Collected(runs, _parts(runs, moved), list(matrices.values()), list(curves.values()), unfinished)


def _affinities(path: Path) -> list[Path]:
    """The files of task affinities under a path, or the path where it is one: of each folder the newer."""
    found = [*_named(path, AFFINITY), *_named(path, BEFORE)]
    return found if path in found else [file for file in found if file == located(file.parent)]


def _named(path: Path, name: str) -> list[Path]:
    """The files of a name under a path, or the path where it is one."""
    return [path] if path.name == name else sorted(path.rglob(name))


def _how_far(folder: Path) -> str:
    note = status.read(folder)
    return f"{folder} ({note.stage}: {note.state})" if note else str(folder)


def _parts(runs: list[Run], moved: Sequence[Manifest]) -> list[Part]:
    """Runs by data set, which is that of a manifest: two of one name may still be two."""
    by_data: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by_data.setdefault((run.result.dataset, run.result.asked.manifest), []).append(run)
    names = [name for name, _ in by_data]
    parts, number = [], 0
    for (name, wanted), of in by_data.items():
        groups = _groups(of, number)
        number += len(groups)
        part = Part(f"{name} {wanted[:8]}" if names.count(name) > 1 else name, groups)
        try:
            part.manifest = _data_set(next((run for run in of if run.config), of[0]), wanted, moved)
        except UserError as error:
            part.missing = str(error)
        parts.append(part)
    return parts


def _groups(runs: list[Run], start: int) -> list[Group]:
    of_result = {id(run.result): run for run in runs}
    found = grouped((run.result for run in runs), Paper.load())
    groups = []
    for number, rows in enumerate(found):
        namesakes = [other for other in found if other.experiment == rows.experiment]
        unusual = [key for key in varying(namesakes) if not same(rows.setting.get(key), _usual(found, key))]
        words = ", ".join(f"{key} {word(rows.setting.get(key))}" for key in unusual)
        name = f"{rows.experiment} ({words})" if words else rows.experiment
        groups.append(Group(name, start + number, [of_result[id(result)] for result in rows.results], rows))
    return groups


def _usual(groups: Sequence[Rows], key: str) -> Any:
    """The value of a setting that most of the rows have."""
    values = [group.setting.get(key) for group in groups]
    return max(values, key=lambda value: sum(same(value, other) for other in values))


def _data_set(run: Run, wanted: str, moved: Sequence[Manifest]) -> Manifest:
    """The data set with the manifest that a run was evaluated on."""
    for manifest in moved:
        if manifest.sha256 == wanted:
            return manifest
    hint = "say where it is: --data DATASET"
    configured = Experiment.of_run(run.folder).config.data.path
    at = place(configured)
    if not (at / MANIFEST).exists():
        raise UserError("the data set is not there any more", file=at, key="data.path", hint=hint)
    manifest = Manifest.load(at)
    if manifest.sha256 != wanted:
        raise UserError("is not the data set that the runs were evaluated on", file=at, hint=hint)
    return manifest


def _tasks_of(run: Run) -> list[Task]:
    """The tasks of a run's network, as its checkpoint describes them; none where that is gone."""
    try:
        facts = checkpoint.exported(run.folder / "checkpoints" / "last")
        return list(Architecture.from_json(facts["architecture"]).tasks) if facts else []
    except UserError:
        return []
