"""The networks that a label curve is measured with: for every budget and seed a student, its teachers, the baselines.

All are ordinary runs. Each budget has its own root, where a teacher is trained once for all students, and where earlier
runs of `tutelage run CONFIG labels.TASK=N seed=K run.root=ROOT` are reused::

    runs/DATASET/curve/
      TASK-N/DATASET/EXPERIMENT/seed-K/    run.root is runs/DATASET/curve/TASK-N, or given by --runs
      TASK/STUDENT/curve.json ...          figures, intervals, labels saved (analysis/curve/labelcurve.py)
"""

import json
import os
from collections.abc import Container, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from analysis.curve.frames import check_largest, check_measured, check_smallest
from analysis.curve.labelcurve import FILE, LabelCurve, as_csv
from analysis.curve.picture import draw
from analysis.curve.values import Networks, measured_before, metric_curves, note_gone
from analysis.grid import Cells, check_overrides, seeds_from, state
from shards.assignment import NESTED
from shards.atomic import atomic_file, disk_errors, write_json
from shards.errors import UserError
from shards.store import redact
from trainer.conditions import existing_result
from trainer.config import Config
from trainer.configfile import NO_PSEUDO, load, to_dict
from trainer.configvalues import COMMAND_LINE
from trainer.experiment import Experiment
from trainer.option import names
from trainer.runs.folder import environment
from trainer.runs.result import Result
from trainer.runs.status import FINISHED
from trainer.setting import same
from trainer.shipped import find, spelling

PLACEHOLDER = "{labels}"
"""Placeholder for the number of labels in ``roots``."""
BASELINE = "umst-s.yaml"
"""The default baseline, if it lies beside the student's configuration."""
_MEASUREMENT_OPTIONS = names(Config, lambda facts: facts.measured)
"""Options that decide on which frames and how a network is measured."""


class Study(Cells):
    """The runs of one label curve, in the order of seeds, then budgets.

    Args:
        path: the student's configuration.
        labels: numbers of training frames that show the scarce task's label.
        seeds: number of seeds, counted up from ``seed``.
        overrides: ``key=value`` for every run.
        task: the scarce task; None if the student has pseudo-labels of a single task.
        baselines: configurations of networks to compare with; each metric is compared with the first of them that
            predicts its task. None for ``umst-s.yaml`` beside the student's, if that predicts the scarce task, or else
            the student's own without pseudo-labels.
        roots: ``run.root`` of a budget, with ``{labels}`` for the number; None for ``RUNS/DATASET/curve/TASK-N``.
        out: the output folder; None for ``RUNS/DATASET/curve/TASK/STUDENT``.

    Raises:
        UserError: a configuration without pseudo-labels, several tasks with them and none named, a bad budget,
            networks that are measured differently, or runs that would share a folder.
    """

    def __init__(
        self,
        path: str | Path,
        labels: Sequence[int],
        seeds: int = 3,
        overrides: Sequence[str] = (),
        *,
        task: str | None = None,
        baselines: Sequence[str | Path] | None = None,
        roots: str | None = None,
        out: str | Path | None = None,
    ) -> None:
        self.path, self.overrides = find(path), list(overrides)
        self.config = config = load(self.path, overrides)
        self.task = _scarce_task(config, self.path, task)
        self.labels = _budgets(labels)
        check_overrides(overrides)
        for override in overrides:
            if override.partition("=")[0] in ("labels", f"labels.{self.task}"):
                message = f"is varied by the curve of {self.task} labels"
                hint = "give its numbers as --labels, and other tasks' as labels.TASK=N"
                raise UserError(message, file=COMMAND_LINE, key=override.partition("=")[0], hint=hint)
        self.seeds = seeds_from(config.seed, seeds)
        folder = Path(config.run.root) / config.data.name / "curve"
        self.roots = roots or str(folder / f"{self.task}-{PLACEHOLDER}")
        if PLACEHOLDER not in self.roots:
            hint = f"write {PLACEHOLDER} where the number of labels stands"
            raise UserError("names one folder for all budgets", file=self.roots, key="--runs", hint=hint)
        self.folder = Path(out) if out else folder / self.task / config.experiment
        self.baselines = _baselines(config, self.path, self.task, self.overrides, baselines)
        self.networks = {(count, seed): self._networks(count, seed) for seed in self.seeds for count in self.labels}
        """By budget and seed."""
        super().__init__(cell for group in self.networks.values() for cell in group.compared)
        _check_measured(self.cells, self.networks[self.labels[0], self.seeds[0]].student)

    def check_budgets(self) -> None:
        """Make sure that the data set, if it is prepared, has enough frames with the label for the largest budget,
        frames for a batch with the smallest, and validation frames with the label.

        Raises:
            UserError: when it does not.
        """
        try:
            _ = self.networks[self.labels[0], self.seeds[0]].student.manifest
        except UserError:
            return
        # the numbers of nested budgets are those of every seed
        for seed in self.seeds[:1] if self.config.assignment == NESTED else self.seeds:
            check_largest(self.networks[self.labels[-1], seed].student, self.task)
            smallest = self.networks[self.labels[0], seed]
            check_smallest([*self.teachers(smallest.student), *smallest.compared])
            check_measured(smallest.student, self.task)

    def name(self, cell: Experiment) -> str:
        return f"{self.task} {self.budget(cell)}: {super().name(cell)}"

    def budget(self, cell: Experiment) -> int:
        """Return the number of frames that show a cell the scarce task's label."""
        count = cell.config.labels[self.task]
        assert count is not None, "an override gives it to every cell"
        return count

    def _networks(self, count: int, seed: int) -> Networks:
        baselines = [self._experiment(baseline, count, seed, extra) for baseline, extra in self.baselines]
        return Networks(self._experiment(self.path, count, seed), baselines)

    def _experiment(self, path: Path, count: int, seed: int, extra: Sequence[str] = ()) -> Experiment:
        root = self.roots.replace(PLACEHOLDER, str(count))
        overrides = [
            f"labels.{self.task}={count}",
            f"seed={seed}",
            f"run.root={json.dumps(root)}",
        ]  # quoted, so that YAML reads any path as a string
        affinity = self.config.affinity if path == self.path and not extra else None
        if affinity:  # of pseudo: auto, which would otherwise be searched under run.root
            overrides.append(f"affinity={json.dumps(str(affinity))}")
        return Experiment(path, [*self.overrides, *extra, *overrides])

    def curve(self, failed: Container[Path] = ()) -> LabelCurve:
        """Return the curve of the finished runs, also of the other budgets and seeds of the curve in the folder.

        Args:
            failed: the folders of runs that :meth:`run` could not run, whose earlier results do not count.

        Raises:
            UserError: when the data set or a result cannot be read.
        """
        keys = measured_before(self.folder / FILE, self.config.data.name, self.task, self.config.experiment)
        earlier = {key: self._networks(*key) for key in sorted(keys - self.networks.keys())}
        cells = [*self.cells, *Cells(cell for group in earlier.values() for cell in group.compared).cells]
        finished = [cell for cell in cells if cell.folder not in failed and state(cell) == FINISHED]
        # a result of other data, or measured otherwise, is none of this curve
        results = {cell.folder: result for cell in finished if (result := existing_result(cell))}
        gone = {key: group for key, group in earlier.items() if not any(c.folder in results for c in group.compared)}
        networks = {key: group for key, group in (self.networks | earlier).items() if key not in gone}
        curves, notes = metric_curves(networks, results)
        return LabelCurve(
            self.config.data.name,
            self.task,
            self.config.experiment,
            tuple(sorted({count for count, _ in networks})),
            tuple(sorted({seed for _, seed in networks})),
            tuple(curves),
            (*notes, *note_gone(gone)),
            self._facts(finished, results),
        )

    def write(self, curve: LabelCurve) -> list[Path]:
        """Write the figures and pictures of a curve, each file atomically.

        Returns:
            The files.

        Raises:
            ValueError: for a curve without metrics.
        """
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / FILE, curve.to_json())
        with atomic_file(self.folder / "curve.csv") as file:
            file.write(as_csv(curve).encode())
        files = [self.folder / FILE, self.folder / "curve.csv"]
        for name in ("curve.png", "curve.svg"):
            draw(curve, self.folder / name)
            files.append(self.folder / name)
        return files

    def _facts(self, cells: Sequence[Experiment], results: Mapping[Path, Result]) -> dict[str, Any]:
        """Return the provenance of the figures. Folders are relative to the curve's, so that both can be moved."""
        runs = [
            {
                "experiment": cell.config.experiment,
                "labels": self.budget(cell),
                "seed": cell.config.seed,
                "folder": os.path.relpath(cell.folder, self.folder),
                "samples_seen": result.samples_seen,
            }
            for cell in cells
            if (result := results.get(cell.folder))
        ]
        return {
            "config": spelling(self.path),
            "overrides": [*map(redact, self.overrides)],
            "missing": sum(cell.folder not in results for cell in self.cells),
            "runs": runs,
            "environment": environment(),
        }


def _scarce_task(config: Config, path: Path, task: str | None) -> str:
    """Return the task whose labels are counted."""
    tasks = list(config.pseudo)
    if not tasks:
        hint = "give a student's configuration, which names the teachers of its pseudo-labels"
        raise UserError("names no pseudo-labels", file=path, key="pseudo", hint=hint)
    if task is None and len(tasks) == 1:
        return tasks[0]
    if task not in tasks:
        message = f"{task} is not a task with pseudo-labels" if task else "several tasks have pseudo-labels"
        raise UserError(message, file=path, key="--task", hint=f"give one of {', '.join(tasks)}")
    return task


def _budgets(labels: Sequence[int]) -> list[int]:
    if not labels or min(labels) < 1:
        hint = "give numbers of frames, 1 or more: --labels 25,50,100"
        raise UserError(
            f"{', '.join(map(str, labels)) or 'nothing'} is not a list of budgets", key="--labels", hint=hint
        )
    return sorted(set(labels))


def _baselines(
    config: Config, path: Path, task: str, overrides: Sequence[str], configs: Sequence[str | Path] | None
) -> list[tuple[Path, list[str]]]:
    """Return the configurations to compare with, and the overrides of each."""
    if configs:
        return [(find(baseline), []) for baseline in configs]
    sibling = path.parent / BASELINE
    if sibling.exists() and sibling != path and task in load(sibling, overrides).tasks:
        return [(sibling, [])]
    return [(path, [NO_PSEUDO, f"experiment={json.dumps(f'{config.experiment}-baseline')}"])]


def _check_measured(cells: Sequence[Experiment], student: Experiment) -> None:
    """Check that all networks are measured on the same frames in the same way.

    Raises:
        UserError: when one is not; it names the option that differs.
    """

    asked = _measurement(student)
    for cell in cells:
        for key, value in _measurement(cell).items():
            expected = asked[key]
            if not same(value, expected):
                message = f"{value!r}, and {expected!r} in {student.path}: their figures could not be compared"
                hint = "give both the same, such as on the command line"
                raise UserError(message, file=cell.path, key=key, hint=hint)


def _measurement(cell: Experiment) -> dict[str, Any]:
    """Return the options that decide on which frames and how a network is measured, by dotted name."""
    options = to_dict(cell.config)
    return {key: reduce(dict.__getitem__, key.split("."), options) for key in _MEASUREMENT_OPTIONS}
