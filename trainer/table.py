"""Results as the paper's tables show them: a row an experiment, mean ± deviation over seeds."""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from shards.atomic import read_json
from shards.errors import UserError

HEADLINES = {"miou": ("mIoU", 100, 2), "rmse": ("rmse", 1, 3), "logrmse": ("logrmse", 1, 3), "mean": ("mean °", 1, 2)}
"""Metrics that a table shows: their title, what they are multiplied by, and decimals."""
_NEEDED = ("dataset", "experiment", "inputs", "tasks", "labels", "pseudo_labels", "normalise", "metrics")
_SAME = ("normalise", "budget", "backbone", "pretrained", "size", "crop", "steps")


@dataclass
class Results:
    """Runs as a table: titles, and cells as text."""

    titles: list[str]
    rows: list[list[str]]


def collect(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The results under the given runs, experiments or whole folders of runs, in the order of their paths.

    Raises:
        UserError: when a path holds no ``result.json``.
    """
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        found = [path] if path.name == "result.json" else sorted(path.rglob("result.json"))
        if not found:
            raise UserError("holds no result.json", file=path, cure="run the experiment: `tutelage run CONFIG`")
        files |= dict.fromkeys(file.resolve() for file in found)  # a run that two paths lead to counts once
    return [_read(file) for file in files]


def _read(file: Path) -> dict[str, Any]:
    cure = "delete it and evaluate again: `tutelage evaluate CONFIG`"
    result = read_json(file, cure)
    missing = [key for key in _NEEDED if not isinstance(result, dict) or key not in result]
    if missing:
        raise UserError("is no result of a run", file=file, key=missing[0], cure=cure)
    return result


def tabulate(results: Iterable[dict[str, Any]]) -> Results:
    """Rows grouped by data set, experiment and setting; |A| and |B| count the frames with depth and segmentation,
    ground truth + pseudo-labels."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for result in results:
        same = {key: result.get(key) for key in _SAME}  # seeds of one experiment, not other settings under its name
        groups.setdefault((result["dataset"], result["experiment"], json.dumps(same)), []).append(result)
    every = [result for group in groups.values() for result in group]
    metrics = [(task, metric) for task in _tasks(every) for metric in HEADLINES if _has(every, task, metric)]
    many = len(_tasks(every)) > 2
    titles = ["experiment", "inputs", "outputs", "losses", *(f"|{letter}|" for letter, _ in _letters(every))]
    titles += [f"{task} {HEADLINES[metric][0]}" if many else HEADLINES[metric][0] for task, metric in metrics]
    several = len({dataset for dataset, *_ in groups}) > 1
    titles = ["data", *titles] if several else titles
    rows = []
    for (dataset, experiment, _), group in groups.items():
        first = group[0]
        row = [experiment, "+".join(map(short, first["inputs"])), "+".join(map(short, first["tasks"]))]
        row.append(_losses(first))
        row += [_frames(first, task) for _, task in _letters(every)]
        row += [_cell([r["metrics"].get(task, {}).get(metric) for r in group], metric) for task, metric in metrics]
        rows.append([dataset, *row] if several else row)
    if len({len(group) for group in groups.values()}) > 1 or any(len(group) > 1 for group in groups.values()):
        titles.append("seeds")
        for row, group in zip(rows, groups.values(), strict=True):
            row.append(str(len(group)))
    return Results(titles, rows)


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
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def as_csv(table: Results) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.titles, *table.rows])
    return buffer.getvalue().rstrip("\n")


def _tasks(results: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(task for result in results for task in result["tasks"])
    return sorted(names, key=lambda name: (name != "semseg", name != "depth"))  # the paper's order


def _letters(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The paper's |A| is depth and |B| segmentation; further tasks go by their names."""
    letters = {"depth": "A", "semseg": "B"}
    return sorted((letters.get(task, task), task) for task in dict.fromkeys(t for r in results for t in r["labels"]))


def _has(results: list[dict[str, Any]], task: str, metric: str) -> bool:
    return any(metric in result["metrics"].get(task, {}) for result in results)


def _losses(result: dict[str, Any]) -> str:
    terms = [f"GT-{short(task)}" for task in result["tasks"] if result["labels"].get(task)]
    terms += [f"P-{short(task)}" for task, frames in result["pseudo_labels"].items() if frames]
    return " + ".join(terms) + (" (all pixels)" if result["normalise"] == "all" else "")


def _frames(result: dict[str, Any], task: str) -> str:
    if task not in result["labels"]:
        return "–"
    pseudo = result["pseudo_labels"].get(task, 0)
    return f"{result['labels'][task]}" + (f"+{pseudo}" if pseudo else "")


def _cell(values: list[float | None], metric: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    _, factor, digits = HEADLINES[metric]
    text = f"{factor * statistics.fmean(known):.{digits}f}"
    return text + (f" ± {factor * statistics.stdev(known):.{digits}f}" if len(known) > 1 else "")
