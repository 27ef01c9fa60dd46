"""Results in the form of the paper's tables: one row per experiment, mean ± deviation over seeds, the paper's figures
beside them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.table import Table

from analysis.results.groups import Group, group_results, metrics_of, same_frames, tasks_of, varying_settings
from analysis.results.headlines import format_values, title_of
from analysis.results.paper import Paper
from trainer.runs.result import Result
from trainer.setting import format_value

_OWN_COLUMNS = ("inputs", "tasks", "budget", "normalise")
"""Settings with dedicated columns."""


@dataclass
class Results:
    """Runs as a table: titles, cells as text, and notes."""

    titles: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


def tabulate(
    results: Iterable[Result], paper: Paper | None = None, metrics: Mapping[str, str] | None = None
) -> Results:
    """Return a row for each group of runs. |A| and |B| count the frames with depth and segmentation, ground truth +
    pseudo-labels, and v those measured on, with the number of those that have a task's label if not all have it; f1 and
    f2 are the tasks as defined by :func:`roles`; an output that was also an input is in brackets. ΔMTL is shown if
    there are single-task rows (:mod:`analysis.results.delta`).

    Args:
        metrics: by task, a further metric that is shown, and that ΔMTL compares in place of the headline metric.

    Raises:
        UserError: when no result has such a metric.
    """
    from analysis.results.delta import deltas, explain_deltas, format_delta  # scipy takes a second to import

    paper = paper or Paper()
    groups = group_results(results, paper)
    all_results = [result for group in groups for result in group.results]
    columns = metrics_of(all_results, metrics)
    printed = [
        pair for pair in columns if any(paper.figure(group.dataset, group.experiment, *pair) for group in groups)
    ]
    settings = [key for key in varying_settings(groups) if key not in _OWN_COLUMNS]
    several = len({group.dataset for group in groups}) > 1
    titles = ["data"] * several + ["experiment", "inputs", "outputs", "losses"]
    titles += [*(f"|{letter}|" for letter, _ in _letters(all_results)), "v", "f1", "f2", *settings]
    for task, metric in columns:
        name = title_of(task, metric, columns)
        titles += [name, f"paper {name}"] if (task, metric) in printed else [name]
    rows, other_frames = [], _rows_on_other_frames(groups)
    for group in groups:
        first = group.first
        row = [group.dataset] * several + [group.experiment]
        row += ["+".join(map(short, first.inputs)), "+".join(map(short, first.tasks)), _losses(first)]
        row += [
            *(_frames(first, task) for _, task in _letters(all_results)),
            _validation_frames(first) + "*" * (group in other_frames),
        ]
        row += ["+".join(map(short, part)) or "–" for part in roles(first)]
        row += [format_value(group.setting.get(key)) for key in settings]
        for task, metric in columns:
            values = [result.metric(task, metric) for result in group.results]
            row.append(_bracket_inputs(format_values(values, metric), task, first))
            if (task, metric) in printed:
                row.append(_paper_cell(group, task, metric, paper))
        rows.append(row)
    changes = deltas(groups, metrics)
    if any(changes):
        titles.append("ΔMTL %")
        for row, change in zip(rows, changes, strict=True):
            row.append(format_delta(change))
    if any(len(group.results) > 1 for group in groups):
        titles.append("seeds")
        for row, group in zip(rows, groups, strict=True):
            row.append(str(len(group.results)))
    notes = [*_other_frames_note(other_frames), *_notes(groups, printed, paper), *explain_deltas(groups, changes)]
    return Results(titles, rows, notes)


def _rows_on_other_frames(groups: Sequence[Group]) -> list[Group]:
    """Return the rows that were measured on other frames than the row with the most frames of its data set."""
    references: dict[str, Group] = {}
    for group in groups:
        reference = references.setdefault(group.dataset, group)
        if (group.first.validation_frames or 0) > (reference.first.validation_frames or 0):
            references[group.dataset] = group
    return [group for group in groups if not same_frames(group, references[group.dataset])]


def _other_frames_note(other_frames: Sequence[Group]) -> list[str]:
    names = ", ".join(dict.fromkeys(group.experiment for group in other_frames))
    note = f"*: {names}: measured on other frames than the other rows, so not comparable with them"
    return [note] if other_frames else []


def roles(result: Result) -> tuple[list[str], list[str]]:
    """Return the paper's f1 and f2. f2 is the task whose labels are missing or few, and which is evaluated; f1 is the
    other task, whose labels all frames have or which is an input. With a single output, both are that task.

    The roles in the paper's rows follow these rules, in this order: a task with pseudo-labels is f2 (UMMT-PS: S,
    UMMT-PD: D); an output that is an input is f1 (MMMT-D: D, MMMT-S: S); else f2 is the task that fewer frames show,
    and if they are equal, segmentation, or the first task (UMMT: S).
    """
    tasks = tasks_of([result])
    if len(tasks) == 1:
        return tasks, tasks
    pseudo = [task for task in tasks if result.pseudo_labels.get(task)]
    inputs = [task for task in tasks if task in result.inputs]
    frames = {task: result.labels.get(task, 0) for task in tasks}
    few = [task for task in tasks if frames[task] == min(frames.values())]
    second = pseudo or ([task for task in tasks if task not in inputs] if inputs else few)
    if len(second) == len(tasks):
        second = tasks[:1]
    return [task for task in tasks if task not in second], second


def short(name: str) -> str:
    """Return the paper's abbreviation of an input or task: RGB, S, D, or the full name of any other task."""
    return {"rgb": "RGB", "semseg": "S", "depth": "D"}.get(name, name)


def as_rich(table: Results) -> Table:
    rich_table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for title in table.titles:
        rich_table.add_column(title, overflow="fold")
    for row in table.rows:
        rich_table.add_row(*row)
    return rich_table


def as_markdown(table: Results) -> str:
    lines = [table.titles, ["---"] * len(table.titles), *table.rows]
    # an unescaped vertical bar would end the cell
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join([text, *table.notes])


def as_csv(table: Results) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([table.titles, *table.rows])
    return buffer.getvalue().rstrip("\n")


def _letters(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return letter and name of each task: the paper's |A| is depth and |B| segmentation; others keep their names."""
    letters = {"depth": "A", "semseg": "B"}
    return sorted((letters.get(task, task), task) for task in dict.fromkeys(t for r in results for t in r.labels))


def _bracket_inputs(text: str, task: str, result: Result) -> str:
    return f"({text})" if task in result.inputs and text != "–" else text


def _paper_cell(group: Group, task: str, metric: str, paper: Paper) -> str:
    text = _bracket_inputs(paper.figure(group.dataset, group.experiment, task, metric) or "–", task, group.first)
    return f"{text} n.c." if text != "–" and paper.why_not_comparable(group.dataset, task, metric) else text


def _notes(groups: Sequence[Group], printed: Sequence[tuple[str, str]], paper: Paper) -> list[str]:
    notes = [
        f"{group.experiment}: of seed {seed} there are {1 + group.repeated_seeds.count(seed)} runs with the same "
        "settings, of which the first counts"
        for group in groups
        for seed in dict.fromkeys(group.repeated_seeds)
    ]
    if any(task in group.first.inputs for group in groups for task in group.first.metrics):
        notes.append("(in brackets): an output that was also an input")
    for dataset in dict.fromkeys(group.dataset for group in groups) if printed else ():
        if dataset in paper.tables:
            notes.append(f"paper: {paper.tables[dataset]['title']} of arXiv 2602.01899 ({dataset})")
        reasons = {(task, metric): paper.why_not_comparable(dataset, task, metric) for task, metric in printed}
        notes += [
            f"n.c.: {task} {metric} is not comparable: it {reason}"
            for (task, metric), reason in reasons.items()
            if reason
        ]
    return notes


def _losses(result: Result) -> str:
    terms = [f"GT-{short(task)}" for task in result.tasks if result.labels.get(task)]
    terms += [f"P-{short(task)}" for task, frames in result.pseudo_labels.items() if frames]
    return " + ".join(terms) + (" (all pixels)" if result.normalise == "all" else "")


def _validation_frames(result: Result) -> str:
    labels = ", ".join(f"{short(task)} {count}" for task, count in result.partly_labelled.items())
    return format_value(result.validation_frames) + (f" ({labels})" if labels else "")


def _frames(result: Result, task: str) -> str:
    if task not in result.labels:
        return "–"
    pseudo = result.pseudo_labels.get(task, 0)
    return f"{result.labels[task]}" + (f"+{pseudo}" if pseudo else "")
