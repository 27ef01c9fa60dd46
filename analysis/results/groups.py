"""Finished runs, read from their folders and grouped with those that differ only in their seeds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.results.headlines import METRICS, SHOWN
from analysis.results.paper import Paper
from shards.errors import UserError
from trainer.option import is_in
from trainer.runs.result import NAME, Result
from trainer.setting import ROW_SETTINGS, options_of, same, setting

_RUN = "run the experiment: `tutelage run CONFIG`"


@dataclass(eq=False)  # groups are compared by identity
class Group:
    """The runs of one experiment with one setting, which differ only in their seeds.

    Args:
        setting: their common setting.
        results: one result per seed.
        repeated_seeds: seeds that were run again; only the first run counts.
    """

    dataset: str
    experiment: str
    setting: dict[str, Any]
    results: list[Result] = field(default_factory=list)
    repeated_seeds: list[int] = field(default_factory=list)

    @property
    def first(self) -> Result:
        """The first result, to read what all have in common."""
        return self.results[0]

    def values(self, task: str, metric: str) -> dict[int, float]:
        """Return a metric by seed, for the seeds that have it."""
        by_seed = {result.seed: result.metric(task, metric) for result in self.results}
        return {seed: value for seed, value in by_seed.items() if value is not None}


def collect(paths: Sequence[str | Path]) -> list[Result]:
    """Read the results under the given runs, experiments or folders of runs, in the order of their paths.

    Raises:
        UserError: when a path holds no ``result.json``.
    """
    return [read_result(file) for file in result_files(paths)]


def result_files(paths: Sequence[str | Path]) -> list[Path]:
    """Return the files that :func:`collect` reads; a run under two of the paths counts once.

    Raises:
        UserError: when a path holds none.
    """
    files: dict[Path, None] = {}
    check_exist(paths)
    for path in map(Path, paths):
        result_paths = [path] if path.name == NAME else sorted(path.rglob(NAME))
        if not result_paths:
            raise UserError(f"holds no {NAME}", file=path, hint=_RUN)
        files |= dict.fromkeys(file.resolve() for file in result_paths)
    return list(files)


def check_exist(paths: Sequence[str | Path]) -> None:
    """Check that some paths to runs exist.

    Raises:
        UserError: for the first that does not.
    """
    for path in paths:
        if not Path(path).exists():
            raise UserError("does not exist", file=path, hint=_RUN)


def read_result(file: Path) -> Result:
    """Read the result of a run, with the options that decided it.

    Raises:
        UserError: when it is damaged.
    """
    return replace(Result.read(file), options=options_of(file.parent))


def group_results(results: Iterable[Result], paper: Paper) -> list[Group]:
    """Group runs by data set, experiment and setting; experiments of the paper come first, in its order."""
    groups: dict[tuple[str, ...], Group] = {}
    for result in results:
        dataset, experiment, settings = result.dataset, result.experiment, setting(result)
        key = dataset, experiment, json.dumps(settings, sort_keys=True)
        group = groups.setdefault(key, Group(dataset, experiment, settings))
        if any(result.seed == other.seed for other in group.results):
            group.repeated_seeds.append(result.seed)  # a repeated value would make the deviation too small
        else:
            group.results.append(result)
    datasets = list(dict.fromkeys(group.dataset for group in groups.values()))

    def sort_key(group: Group) -> tuple[int, int]:
        rows = paper.rows(group.dataset)
        return datasets.index(group.dataset), rows.index(group.experiment) if group.experiment in rows else len(rows)

    return sorted(groups.values(), key=sort_key)


def varying_settings(groups: Sequence[Group]) -> list[str]:
    """Return the settings in which groups of one data set differ; those that rows are meant to differ in are compared
    only between groups of one experiment."""
    keys = dict.fromkeys(key for group in groups for key in group.setting)
    return [key for key in keys if any(len(values) > 1 for values in _values(groups, key).values())]


def _values(groups: Sequence[Group], key: str) -> dict[tuple[str, ...], set[str]]:
    """Return the values of a setting by the groups that should agree in it: those of a data set, or of a row."""
    values: dict[tuple[str, ...], set[str]] = {}
    for group in groups:
        peers = (group.dataset, group.experiment) if is_in(key, ROW_SETTINGS) else (group.dataset,)
        values.setdefault(peers, set()).add(json.dumps(group.setting.get(key), sort_keys=True))
    return values


def differing_settings(group: Group, reference: Group) -> list[str]:
    """Return the settings in which two rows differ, apart from those that rows are meant to differ in. Steps are
    ignored if the epochs are equal, since they then follow from the number of frames."""
    keys = dict.fromkeys([*group.setting, *reference.setting])
    differing = [key for key in keys if not same(group.setting.get(key), reference.setting.get(key))]
    unexpected = [key for key in differing if not is_in(key, ROW_SETTINGS)]
    by_epochs = group.setting["epochs"] is not None and "epochs" not in unexpected
    return [key for key in unexpected if key != "steps" or not by_epochs]


def same_frames(group: Group, reference: Group) -> bool:
    """Whether two rows were measured on the same frames: a network that sees depth is measured on frames that carry
    it. Older results, which do not record their frames, are compared by the labelled pixels of common tasks."""
    references = {result.seed: result for result in reference.results}
    pairs = [(result, references[result.seed]) for result in group.results if result.seed in references]
    return all(measured_on_same_frames(*pair) for pair in pairs or [(group.first, reference.first)])


def measured_on_same_frames(first: Result, second: Result) -> bool:
    """Whether two results were measured on the same frames, as in :func:`same_frames`."""
    if first.validation_set and second.validation_set:
        return first.validation_set == second.validation_set
    pixels = [
        {name: metrics["pixels"] for name, metrics in result.metrics.items() if "pixels" in metrics}
        for result in (first, second)
    ]
    return all(pixels[0][task] == pixels[1][task] for task in pixels[0].keys() & pixels[1].keys())


def tasks_of(results: Sequence[Result]) -> list[str]:
    """Return all tasks, in the paper's order."""
    names = dict.fromkeys(task for result in results for task in result.tasks)
    return sorted(names, key=lambda name: (name != "semseg", name != "depth"))


def metrics_of(results: Sequence[Result], chosen: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return task and name of each metric that a table of the results has a column for, in its order.

    Args:
        chosen: by task, a metric beside those that all tables show.

    Raises:
        UserError: when no result has a chosen metric.
    """
    measured = {
        task: {name: None for result in results for name in result.metrics.get(task, {}) if name in METRICS}
        for task in tasks_of(results)
    }
    for task, metric in (chosen or {}).items():
        if metric not in measured.get(task, {}):
            names = ", ".join(f"{task}={name}" for task, names in measured.items() for name in names)
            raise UserError(f"no run has {task}={metric}", key="--metric", hint=f"give one of {names}")
    return [
        (task, metric)
        for task, names in measured.items()
        for metric in METRICS
        if metric in names and (metric in SHOWN or metric == (chosen or {}).get(task))
    ]
