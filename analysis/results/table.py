"""Results as the paper's tables show them: a row an experiment, mean ± deviation over seeds, the paper's figures beside
them."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.table import Table

from analysis.results.groups import Group, grouped, same_frames, tasks_of, varying
from analysis.results.headlines import HEADLINES, spell, title_of
from analysis.results.paper import Paper
from trainer.runs.result import Result
from trainer.setting import word

_SAID = ("inputs", "tasks", "budget", "normalise")
"""Settings that a row has columns of its own for."""


@dataclass
class Results:
    """Runs as a table: titles, cells as text, and what is to be said of them."""

    titles: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


def tabulate(results: Iterable[Result], paper: Paper | None = None) -> Results:
    """A row for each group of runs. |A| and |B| count the frames with depth and segmentation, ground truth +
    pseudo-labels, and v those that were measured; f1 and f2 are the tasks as :func:`roles` says; in brackets stands an
    output that was also an input. ΔMTL is shown where single-task rows are there (:mod:`analysis.results.delta`)."""
    from analysis.results.delta import deltas, explained, spelt  # scipy takes a second to import

    paper = paper or Paper()
    groups = grouped(results, paper)
    every = [result for group in groups for result in group.results]
    tasks = tasks_of(every)
    metrics = [(task, metric) for task in tasks for metric in HEADLINES if _has(every, task, metric)]
    printed = [of for of in metrics if any(paper.figure(group.dataset, group.experiment, *of) for group in groups)]
    settings = [key for key in varying(groups) if key not in _SAID]
    several = len({group.dataset for group in groups}) > 1
    titles = ["data"] * several + ["experiment", "inputs", "outputs", "losses"]
    titles += [*(f"|{letter}|" for letter, _ in _letters(every)), "v", "f1", "f2", *settings]
    for task, metric in metrics:
        name = title_of(task, metric, tasks)
        titles += [name, f"paper {name}"] if (task, metric) in printed else [name]
    rows, apart = [], _apart(groups)
    for group in groups:
        first = group.first
        row = [group.dataset] * several + [group.experiment]
        row += ["+".join(map(short, first.inputs)), "+".join(map(short, first.tasks)), _losses(first)]
        row += [
            *(_frames(first, task) for _, task in _letters(every)),
            word(first.validation_frames) + "*" * (group in apart),
        ]
        row += ["+".join(map(short, part)) or "–" for part in roles(first)]
        row += [word(group.setting.get(key)) for key in settings]
        for task, metric in metrics:
            values = [result.metric(task, metric) for result in group.results]
            row.append(_bracketed(spell(values, metric), task, first))
            if (task, metric) in printed:
                row.append(_printed(group, task, metric, paper))
        rows.append(row)
    changes = deltas(groups)
    if any(changes):
        titles.append("ΔMTL %")
        for row, change in zip(rows, changes, strict=True):
            row.append(spelt(change))
    if any(len(group.results) > 1 for group in groups):
        titles.append("seeds")
        for row, group in zip(rows, groups, strict=True):
            row.append(str(len(group.results)))
    return Results(titles, rows, [*_of_frames(apart), *_notes(groups, printed, paper), *explained(groups, changes)])


def _apart(groups: Sequence[Group]) -> list[Group]:
    """The rows that were measured on other frames than the row with the most of its data set."""
    most: dict[str, Group] = {}
    for group in groups:
        known = most.setdefault(group.dataset, group)
        if (group.first.validation_frames or 0) > (known.first.validation_frames or 0):
            most[group.dataset] = group
    return [group for group in groups if not same_frames(group, most[group.dataset])]


def _of_frames(apart: Sequence[Group]) -> list[str]:
    names = ", ".join(dict.fromkeys(group.experiment for group in apart))
    return [f"*: {names}: measured on other frames than the other rows, so not comparable with them"] if apart else []


def roles(result: Result) -> tuple[list[str], list[str]]:
    """The paper's f1 and f2: f2 is the task whose labels are missing or few, and which is judged; f1 is the other, of
    which there are labels for all frames, or which is given to the network. With one output both are that one.

    The paper's rows say which is which by these rules, one after the other: what has pseudo-labels is f2 (UMMT-PS: S,
    UMMT-PD: D); an output that is an input is f1 (MMMT-D: D, MMMT-S: S); else f2 is what fewer frames show, and where
    all are shown as often, segmentation, or the first task (UMMT: S).
    """
    tasks = tasks_of([result])
    if len(tasks) == 1:
        return tasks, tasks
    pseudo = [task for task in tasks if result.pseudo_labels.get(task)]
    given = [task for task in tasks if task in result.inputs]
    frames = {task: result.labels.get(task, 0) for task in tasks}
    few = [task for task in tasks if frames[task] == min(frames.values())]
    second = pseudo or ([task for task in tasks if task not in given] if given else few)
    if len(second) == len(tasks):
        second = tasks[:1]
    return [task for task in tasks if task not in second], second


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


def _letters(results: Sequence[Result]) -> list[tuple[str, str]]:
    """The paper's |A| is depth and |B| segmentation; further tasks go by their names."""
    letters = {"depth": "A", "semseg": "B"}
    return sorted((letters.get(task, task), task) for task in dict.fromkeys(t for r in results for t in r.labels))


def _has(results: Sequence[Result], task: str, metric: str) -> bool:
    return any(metric in result.metrics.get(task, {}) for result in results)


def _bracketed(text: str, task: str, result: Result) -> str:
    return f"({text})" if task in result.inputs and text != "–" else text


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
    if any(task in group.first.inputs for group in groups for task in group.first.metrics):
        notes.append("(in brackets): an output that was also an input")
    for dataset in dict.fromkeys(group.dataset for group in groups) if printed else ():
        if dataset in paper.tables:
            notes.append(f"paper: {paper.tables[dataset]['title']} of arXiv 2602.01899 ({dataset})")
        whys = {(task, metric): paper.why_not_comparable(dataset, task, metric) for task, metric in printed}
        notes += [f"n.c.: {task} {metric} is not comparable: it {why}" for (task, metric), why in whys.items() if why]
    return notes


def _losses(result: Result) -> str:
    terms = [f"GT-{short(task)}" for task in result.tasks if result.labels.get(task)]
    terms += [f"P-{short(task)}" for task, frames in result.pseudo_labels.items() if frames]
    return " + ".join(terms) + (" (all pixels)" if result.normalise == "all" else "")


def _frames(result: Result, task: str) -> str:
    if task not in result.labels:
        return "–"
    pseudo = result.pseudo_labels.get(task, 0)
    return f"{result.labels[task]}" + (f"+{pseudo}" if pseudo else "")
