"""Results as the paper's tables show them: a row an experiment, mean ± deviation over seeds, the paper's figures beside
them."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from shards.atomic import read_json
from shards.errors import UserError
from trainer.results.headlines import HEADLINES, spell, title_of
from trainer.results.paper import Paper
from trainer.setting import OF_THE_ROW, is_in, options_of, setting, word

_NEEDED = ("dataset", "experiment", "seed", "inputs", "tasks", "labels", "pseudo_labels", "normalise", "metrics")
_SAID = ("inputs", "tasks", "budget", "normalise")
"""Settings that a row has columns of its own for."""


@dataclass
class Results:
    """Runs as a table: titles, cells as text, and what is to be said of them."""

    titles: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


@dataclass
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
    results: list[dict[str, Any]] = field(default_factory=list)
    again: list[int] = field(default_factory=list)

    @property
    def first(self) -> dict[str, Any]:
        """What they have in common is true of any."""
        return self.results[0]

    def values(self, task: str, metric: str) -> dict[int, float]:
        """A metric by seed, where it is known."""
        every = {result["seed"]: result["metrics"].get(task, {}).get(metric) for result in self.results}
        return {seed: value for seed, value in every.items() if value is not None}


def collect(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
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
        found = [path] if path.name == "result.json" else sorted(path.rglob("result.json"))
        if not found:
            raise UserError("holds no result.json", file=path, cure="run the experiment: `tutelage run CONFIG`")
        files |= dict.fromkeys(file.resolve() for file in found)
    return list(files)


def read_result(file: Path) -> dict[str, Any]:
    """The row that a run left, and under ``options`` those that decided it.

    Raises:
        UserError: when it is damaged.
    """
    cure = "delete it and evaluate again: `tutelage evaluate CONFIG`"
    result = read_json(file, cure)
    missing = [key for key in _NEEDED if not isinstance(result, dict) or key not in result]
    if missing:
        raise UserError("is no result of a run", file=file, key=missing[0], cure=cure)
    return result | {"options": options_of(file.parent)}


def grouped(results: Iterable[dict[str, Any]], paper: Paper) -> list[Group]:
    """Runs by data set, experiment and setting; experiments that the paper has come first, in its order."""
    groups: dict[tuple[str, ...], Group] = {}
    for result in results:
        dataset, experiment, common = result["dataset"], result["experiment"], setting(result)
        key = dataset, experiment, json.dumps(common, sort_keys=True)
        group = groups.setdefault(key, Group(dataset, experiment, common))
        if any(result["seed"] == other["seed"] for other in group.results):
            group.again.append(result["seed"])  # one and the same, which would make a deviation look small
        else:
            group.results.append(result)
    datasets = list(dict.fromkeys(group.dataset for group in groups.values()))

    def place(group: Group) -> tuple[int, int]:
        rows = paper.rows(group.dataset)
        return datasets.index(group.dataset), rows.index(group.experiment) if group.experiment in rows else len(rows)

    return sorted(groups.values(), key=place)


def tabulate(results: Iterable[dict[str, Any]], paper: Paper | None = None) -> Results:
    """A row for each group of runs. |A| and |B| count the frames with depth and segmentation, ground truth +
    pseudo-labels; in brackets stands an output that was also an input."""
    paper = paper or Paper()
    groups = grouped(results, paper)
    every = [result for group in groups for result in group.results]
    tasks = tasks_of(every)
    metrics = [(task, metric) for task in tasks for metric in HEADLINES if _has(every, task, metric)]
    printed = [of for of in metrics if any(paper.figure(group.dataset, group.experiment, *of) for group in groups)]
    settings = [key for key in varying(groups) if key not in _SAID]
    several = len({group.dataset for group in groups}) > 1
    titles = ["data"] * several + ["experiment", "inputs", "outputs", "losses"]
    titles += [f"|{letter}|" for letter, _ in _letters(every)] + settings
    for task, metric in metrics:
        name = title_of(task, metric, tasks)
        titles += [name, f"paper {name}"] if (task, metric) in printed else [name]
    rows = []
    for group in groups:
        first = group.first
        row = [group.dataset] * several + [group.experiment]
        row += ["+".join(map(short, first["inputs"])), "+".join(map(short, first["tasks"])), _losses(first)]
        row += [_frames(first, task) for _, task in _letters(every)]
        row += [word(group.setting.get(key)) for key in settings]
        for task, metric in metrics:
            values = [result["metrics"].get(task, {}).get(metric) for result in group.results]
            row.append(_bracketed(spell(values, metric), task, first))
            if (task, metric) in printed:
                row.append(_printed(group, task, metric, paper))
        rows.append(row)
    if any(len(group.results) > 1 for group in groups):
        titles.append("seeds")
        for row, group in zip(rows, groups, strict=True):
            row.append(str(len(group.results)))
    return Results(titles, rows, _notes(groups, printed, paper))


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


def short(name: str) -> str:
    """RGB, S, D, and the first letters of any other task."""
    return {"rgb": "RGB", "semseg": "S", "depth": "D"}.get(name, name)


def as_rich(table: Results) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for title in table.titles:
        shown.add_column(title, overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def as_markdown(table: Results) -> str:
    lines = [table.titles, ["---"] * len(table.titles), *table.rows]
    # a vertical bar would end the cell
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join([text, *table.notes])


def as_csv(table: Results) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.titles, *table.rows])
    return buffer.getvalue().rstrip("\n")


def tasks_of(results: Sequence[dict[str, Any]]) -> list[str]:
    """All tasks, in the paper's order."""
    names = dict.fromkeys(task for result in results for task in result["tasks"])
    return sorted(names, key=lambda name: (name != "semseg", name != "depth"))


def _letters(results: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The paper's |A| is depth and |B| segmentation; further tasks go by their names."""
    letters = {"depth": "A", "semseg": "B"}
    return sorted((letters.get(task, task), task) for task in dict.fromkeys(t for r in results for t in r["labels"]))


def _has(results: Sequence[dict[str, Any]], task: str, metric: str) -> bool:
    return any(metric in result["metrics"].get(task, {}) for result in results)


def _bracketed(text: str, task: str, result: dict[str, Any]) -> str:
    return f"({text})" if task in result["inputs"] and text != "–" else text


def _printed(group: Group, task: str, metric: str, paper: Paper) -> str:
    text = _bracketed(paper.figure(group.dataset, group.experiment, task, metric) or "–", task, group.first)
    return f"{text} n.c." if text != "–" and paper.why_not_comparable(group.dataset, task, metric) else text


def _notes(groups: Sequence[Group], printed: Sequence[tuple[str, str]], paper: Paper) -> list[str]:
    notes = [
        f"{group.experiment}: of seed {seed} there are {1 + group.again.count(seed)} runs with the same settings, of "
        "which the first counts"
        for group in groups
        for seed in dict.fromkeys(group.again)
    ]
    if any(task in group.first["inputs"] for group in groups for task in group.first["metrics"]):
        notes.append("(in brackets): an output that was also an input")
    for dataset in dict.fromkeys(group.dataset for group in groups) if printed else ():
        if dataset in paper.tables:
            notes.append(f"paper: {paper.tables[dataset]['title']} of arXiv 2602.01899 ({dataset})")
        whys = {(task, metric): paper.why_not_comparable(dataset, task, metric) for task, metric in printed}
        notes += [f"n.c.: {task} {metric} is not comparable: it {why}" for (task, metric), why in whys.items() if why]
    return notes


def _losses(result: dict[str, Any]) -> str:
    terms = [f"GT-{short(task)}" for task in result["tasks"] if result["labels"].get(task)]
    terms += [f"P-{short(task)}" for task, frames in result["pseudo_labels"].items() if frames]
    return " + ".join(terms) + (" (all pixels)" if result["normalise"] == "all" else "")


def _frames(result: dict[str, Any], task: str) -> str:
    if task not in result["labels"]:
        return "–"
    pseudo = result["pseudo_labels"].get(task, 0)
    return f"{result['labels'][task]}" + (f"+{pseudo}" if pseudo else "")
