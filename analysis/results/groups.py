"""Finished runs, read from where they lie, and put together where they differ in nothing but their seeds."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.results.paper import Paper
from shards.errors import UserError
from trainer.option import is_in
from trainer.runs.result import NAME, Result
from trainer.setting import OF_THE_ROW, options_of, same, setting


@dataclass(eq=False)  # told apart by which it is
class Group:
    """The runs of one experiment under one setting, which differ in their seeds.

    Args:
        setting: what they have in common.
        results: of each seed one.
        again: seeds that were run several times, of which the first run counts.
    """

    dataset: str
    experiment: str
    setting: dict[str, Any]
    results: list[Result] = field(default_factory=list)
    again: list[int] = field(default_factory=list)

    @property
    def first(self) -> Result:
        """What they have in common is true of any."""
        return self.results[0]

    def values(self, task: str, metric: str) -> dict[int, float]:
        """A metric by seed, where it is known."""
        every = {result.seed: result.metric(task, metric) for result in self.results}
        return {seed: value for seed, value in every.items() if value is not None}


def collect(paths: Sequence[str | Path]) -> list[Result]:
    """The results under the given runs, experiments or whole folders of runs, in the order of their paths.

    Raises:
        UserError: when a path holds no ``result.json``.
    """
    return [read_result(file) for file in result_files(paths)]


def result_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files that :func:`collect` reads; a run that two paths lead to counts once.

    Raises:
        UserError: when a path holds none.
    """
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        found = [path] if path.name == NAME else sorted(path.rglob(NAME))
        if not found:
            raise UserError(f"holds no {NAME}", file=path, hint="run the experiment: `tutelage run CONFIG`")
        files |= dict.fromkeys(file.resolve() for file in found)
    return list(files)


def read_result(file: Path) -> Result:
    """What a run left, with the options that decided it.

    Raises:
        UserError: when it is damaged.
    """
    return replace(Result.read(file), options=options_of(file.parent))


def grouped(results: Iterable[Result], paper: Paper) -> list[Group]:
    """Runs by data set, experiment and setting; experiments that the paper has come first, in its order."""
    groups: dict[tuple[str, ...], Group] = {}
    for result in results:
        dataset, experiment, common = result.dataset, result.experiment, setting(result)
        key = dataset, experiment, json.dumps(common, sort_keys=True)
        group = groups.setdefault(key, Group(dataset, experiment, common))
        if any(result.seed == other.seed for other in group.results):
            group.again.append(result.seed)  # one and the same, which would make a deviation look small
        else:
            group.results.append(result)
    datasets = list(dict.fromkeys(group.dataset for group in groups.values()))

    def place(group: Group) -> tuple[int, int]:
        rows = paper.rows(group.dataset)
        return datasets.index(group.dataset), rows.index(group.experiment) if group.experiment in rows else len(rows)

    return sorted(groups.values(), key=place)


def varying(groups: Sequence[Group]) -> list[str]:
    """The settings in which groups of one data set differ; those that make them other experiments, of one name."""
    keys = dict.fromkeys(key for group in groups for key in group.setting)
    return [key for key in keys if any(len(of) > 1 for of in _values(groups, key).values())]


def _values(groups: Sequence[Group], key: str) -> dict[tuple[str, ...], set[str]]:
    """The values of a setting by what ought to agree in it."""
    values: dict[tuple[str, ...], set[str]] = {}
    for group in groups:
        peers = (group.dataset, group.experiment) if is_in(key, OF_THE_ROW) else (group.dataset,)
        values.setdefault(peers, set()).add(json.dumps(group.setting.get(key), sort_keys=True))
    return values


def differing(one: Group, other: Group) -> list[str]:
    """Settings in which two rows differ though the rows' names do not say so. Networks that were trained for as many
    epochs differ in their steps by the number of their frames alone."""
    keys = dict.fromkeys([*one.setting, *other.setting])
    differing = [key for key in keys if not same(one.setting.get(key), other.setting.get(key))]
    found = [key for key in differing if not is_in(key, OF_THE_ROW)]
    by_epochs = one.setting["epochs"] is not None and "epochs" not in found
    return [key for key in found if key != "steps" or not by_epochs]


def same_frames(one: Group, other: Group) -> bool:
    """Whether two rows were measured on the same frames: a network that sees depth is measured on those that carry
    it. Results of before they noted their frames tell by the labelled pixels of the tasks that both have."""
    theirs = {result.seed: result for result in other.results}
    pairs = [(result, theirs[result.seed]) for result in one.results if result.seed in theirs]
    return all(_same_frames(*pair) for pair in pairs or [(one.first, other.first)])


def _same_frames(one: Result, other: Result) -> bool:
    if one.validation_set and other.validation_set:
        return one.validation_set == other.validation_set
    pixels = [{name: of["pixels"] for name, of in result.metrics.items() if "pixels" in of} for result in (one, other)]
    return all(pixels[0][task] == pixels[1][task] for task in pixels[0].keys() & pixels[1].keys())


def tasks_of(results: Sequence[Result]) -> list[str]:
    """All tasks, in the paper's order."""
    names = dict.fromkeys(task for result in results for task in result.tasks)
    return sorted(names, key=lambda name: (name != "semseg", name != "depth"))
