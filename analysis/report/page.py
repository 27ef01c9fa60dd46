"""The page: every section that some runs allow, rendered from ``page.html`` with the style of ``page.css``.

Sections that cannot be made any more, because a data set or a checkpoint is gone, are replaced by the reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import jinja2
from markupsafe import Markup

from analysis.report.classes import ClassTable, class_tables
from analysis.report.collect import Group, Part, ReportContents, collect
from analysis.report.curves import Curves, curves
from analysis.report.predictions import Panels, panels
from analysis.report.provenance import Source, data_facts, environments, sources
from analysis.report.pseudolabels import PseudoLabelSection, pseudo_labels
from analysis.report.svg import percent
from analysis.results.comparison import parse_pairs, tables
from analysis.results.paper import Paper
from shards.atomic import atomic_file, disk_errors
from shards.errors import UserError
from shards.log import logger

T = TypeVar("T")


@dataclass
class Section:
    """Everything about the runs on one data set. ``panels`` and ``labels`` are None if they cannot be made, and
    ``notes`` gives the reasons."""

    part: Part
    curves: Curves
    classes: list[ClassTable]
    panels: Panels | None
    labels: list[PseudoLabelSection] | None
    data: list[tuple[str, str]]
    sources: list[Source]
    notes: dict[str, str]


def write(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    frames: int = 4,
    data: Sequence[str | Path] = (),
    compare: Sequence[str] = (),
) -> None:
    """Write the report of some runs.

    Args:
        paths: runs, experiments, whole folders of runs, or files of affinities and label curves.
        out: the HTML file.
        frames: number of validation frames to show with every network's predictions.
        data: present folders of data sets that were moved.
        compare: ``A,B``, names of experiments to compare in addition to the paper's pairs, the first minus the second.

    Raises:
        UserError: when a path holds nothing to report, a name is not that of an experiment, a result is damaged, or the
            file cannot be written.
    """
    if frames < 1:
        raise UserError(f"{frames} frames", key="--frames", hint="give 1 or more")
    if Path(out).is_dir():
        raise UserError("is a folder", file=out, key="--out", hint="name a file in it, such as report.html")
    text = render(collect(paths, data), frames, compare)
    with disk_errors(Path(out)):
        Path(out).parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as file:
        file.write(text.encode())


def render(contents: ReportContents, frames: int, compare: Sequence[str] = ()) -> str:
    """Return the HTML of the page, which is a function of the runs and their data."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page.filters |= {"percent": percent, "is_number": is_number}
    results = [run.result for run in contents.runs]
    pairs = parse_pairs(compare, results)
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return page.get_template("page.html").render(
        style=Markup(style),  # trusted: no user text, and nothing that ends the style element
        datasets=[part.name for part in contents.parts],
        results=results,
        tables=tables(results, Paper.load(), pairs) if results else [],
        groups=[group for part in contents.parts for group in part.groups],
        sections=[_section(part, frames) for part in contents.parts],
        affinities=contents.affinities,
        label_curves=contents.label_curves,
        unfinished=contents.unfinished,
        environment=environments(contents.runs),
    )


def is_number(column: Sequence[str]) -> bool:
    """Whether the cells of a table's column are numbers or empty, and so are aligned to the right."""
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
            logger.warning(f"{part.name}: no {name}: {error}")
            return None

    def draw() -> Panels:
        assert part.manifest
        groups = _of_one_split(_with_networks(part.groups))
        if omitted := [group.name for group in part.groups if group not in groups]:
            notes["others"] = ", ".join(omitted)
        return panels(groups, part.manifest, frames)

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
    """Return the groups whose checkpoints and configurations still exist.

    Raises:
        UserError: when there are none.
    """
    with_config = [group for group in groups if group.first.config]
    complete = [group for group in with_config if any((group.first.folder / "checkpoints").glob("*/model.json"))]
    if not complete:
        message, hint = "no run has its checkpoint any more", "train one again: `tutelage run CONFIG`"
        raise UserError(message, file=groups[0].first.folder, hint=hint)
    return complete


def _of_one_split(groups: Sequence[Group]) -> list[Group]:
    """Return the groups that were evaluated on the most common split."""
    splits = [group.rows.setting["split"] for group in groups]
    most = max(splits, key=splits.count)
    return [group for group, split in zip(groups, splits, strict=True) if split == most]
