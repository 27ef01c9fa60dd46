"""The page: every section that can be made of some runs, in ``page.html`` with the style of ``page.css``.

What cannot be made any more, because a data set or a checkpoint is gone, is left out with a sentence that says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import jinja2
from markupsafe import Markup

from analysis.report.classes import ClassTable, class_tables
from analysis.report.collect import Collected, Group, Part, collect
from analysis.report.curves import Curves, curves
from analysis.report.predictions import Panels, panels
from analysis.report.provenance import Source, data_facts, environments, sources
from analysis.report.pseudolabels import Labelled, pseudo_labels
from analysis.report.svg import percent
from analysis.results.comparison import compare
from analysis.results.paper import Paper
from analysis.results.table import Results, tabulate
from shards.atomic import atomic_file, disk_errors
from shards.errors import UserError
from trainer.progress import say
from trainer.runs.result import Result

T = TypeVar("T")


@dataclass
class Section:
    """Everything about the runs on one data set. ``panels`` and ``labels`` are None where they cannot be made, and
    ``notes`` say why."""

    part: Part
    curves: Curves
    classes: list[ClassTable]
    panels: Panels | None
    labels: list[Labelled] | None
    data: list[tuple[str, str]]
    sources: list[Source]
    notes: dict[str, str]


def write(paths: Sequence[str | Path], out: str | Path, *, frames: int = 4, data: Sequence[str | Path] = ()) -> None:
    """Write the report of some runs.

    Args:
        paths: runs, experiments, whole folders of runs, or files of affinities and label curves.
        out: the HTML file.
        frames: validation frames that are shown with every network's predictions.
        data: where data sets are now that were moved since.

    Raises:
        UserError: when a path holds nothing to report, a result is damaged, or the file cannot be written.
    """
    if frames < 1:
        raise UserError(f"{frames} frames", key="--frames", hint="give 1 or more")
    if Path(out).is_dir():
        raise UserError("is a folder", file=out, key="--out", hint="name a file in it, such as report.html")
    text = render(collect(paths, data), frames)
    with disk_errors(Path(out)):
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as file:
        file.write(text.encode())


def render(collected: Collected, frames: int) -> str:
    """The page's text, which follows from the runs and their data alone."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters |= {"percent": percent, "is_number": is_number}
    results = [run.result for run in collected.runs]
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return page.get_template("page.html").render(
        style=Markup(style),  # ours, without a character that ends a style element
        datasets=[part.name for part in collected.parts],
        results=results,
        tables=tables(results),
        groups=[group for part in collected.parts for group in part.groups],
        sections=[_section(part, frames) for part in collected.parts],
        affinities=collected.affinities,
        label_curves=collected.label_curves,
        unfinished=collected.unfinished,
        environment=environments(collected.runs),
    )


def tables(results: Sequence[Result]) -> list[Results]:
    """The tables that `tutelage table` prints: of all runs, and of the comparisons that can be made."""
    paper = Paper.load()
    return [table for table in (tabulate(results, paper), compare(results, paper)) if table.rows]


def is_number(column: Sequence[str]) -> bool:
    """Whether the cells of a table's column are numbers, or nothing, and so belong to the right."""
    return all(cell[:1] in "0123456789–−+(" for cell in column)


def _section(part: Part, frames: int) -> Section:
    notes: dict[str, str] = {}

    def attempt(name: str, make: Callable[[], T]) -> T | None:
        try:
            if part.missing and name == "predictions":
                raise UserError(part.missing)
            return make()
        except UserError as error:
            notes[name] = str(error)
            say(f"{part.name}: no {name}: {error}")
            return None

    def draw() -> Panels:
        assert part.manifest
        drawn = _of_one_split(_with_networks(part.groups))
        if others := [group.name for group in part.groups if group not in drawn]:
            notes["others"] = ", ".join(others)
        return panels(drawn, part.manifest, frames)

    return Section(
        part,
        curves(part),
        class_tables(part),
        attempt("predictions", draw),
        attempt("pseudo-labels", lambda: pseudo_labels(part)),
        data_facts(part),
        sources(part),
        notes,
    )


def _with_networks(groups: Sequence[Group]) -> list[Group]:
    """Those whose checkpoints and configurations are still there.

    Raises:
        UserError: when none are.
    """
    whole = [group for group in groups if group.first.config]
    found = [group for group in whole if any((group.first.folder / "checkpoints").glob("*/model.json"))]
    if not found:
        what, hint = "no run has its checkpoint any more", "train one again: `tutelage run CONFIG`"
        raise UserError(what, file=groups[0].first.folder, hint=hint)
    return found


def _of_one_split(groups: Sequence[Group]) -> list[Group]:
    """Those that were evaluated on the split that most of them were."""
    splits = [group.rows.setting["split"] for group in groups]
    most = max(splits, key=splits.count)
    return [group for group, split in zip(groups, splits, strict=True) if split == most]
