"""``tutelage grid DATASET``: a whole table, in this process or as jobs of a cluster."""

import argparse
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich import box
from rich.table import Table

from analysis.grid import FINISHED, Cells, Grid, samples, state
from analysis.results.groups import collect
from launchers.report import show_results
from shards.errors import UserError
from trainer.progress import say, show

PIPELINE = Path("slurm/pipeline.sh")


def grid(options: argparse.Namespace) -> None:
    rows = [row.strip() for row in options.rows.split(",")] if options.rows is not None else None
    found = Grid(options.dataset, rows, options.seeds, options.overrides)
    _describe(found)
    if options.sbatch:
        submit(found, dry=options.dry_run)
    elif not options.dry_run:
        _run(found)


def _run(found: Grid) -> None:
    """Run it here, and show what it gave.

    Raises:
        UserError: at the end, when a run failed.
    """
    failed = found.run()
    finished = [cell.folder for cell in found.cells if state(cell) == FINISHED]
    if finished:
        show_results(collect(finished))
    tell_failures(found, failed)


def tell_failures(found: Cells, failed: Mapping[Path, str]) -> None:
    """The end of a command some of whose runs failed.

    Raises:
        UserError: when one did.
    """
    if failed:
        lost = "; ".join(found.name(cell) for cell in found.cells if cell.folder in failed)
        hint = "see above why, and start the same command again: what is finished is kept"
        raise UserError(f"{len(failed)} of {len(found.cells)} runs failed: {lost}", hint=hint)


def _describe(found: Grid) -> None:
    """What will be run, and how far it is."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for title in ("row", "teacher", "samples", *(f"seed {seed}" for seed in found.seeds)):
        table.add_column(title)
    rows: dict[str, list[str]] = {}
    for cell in found.cells:
        teachers = ", ".join(each.config.experiment for each in found.teachers(cell)) or "–"
        row = rows.setdefault(cell.config.experiment, [cell.config.experiment, teachers, samples(cell)])
        row.append(state(cell))
    for row in rows.values():
        table.add_row(*row)
    show(table)
    compare_samples(row[2] for row in rows.values())


def compare_samples(seen: Iterable[str]) -> None:
    """Say so where networks do not see as many samples, or it depends on their frames whether they do."""
    found = {*seen}
    if len(found) > 1 or any("epochs" in each for each in found):
        say("rows differ in the samples that their networks see: compare only those that see as many")


def submit(found: Cells, *, dry: bool) -> None:
    """Hand every row that teaches no other to the cluster's pipeline, which brings its teachers along.

    Raises:
        UserError: without the script, or when a submission failed.
    """
    if not PIPELINE.exists():
        hint = "start this in a clone, or in a project of `tutelage init`"
        raise UserError("does not exist", file=PIPELINE, hint=hint)
    teachers = {each.folder for cell in found.cells for each in found.teachers(cell)}
    lost = []
    for cell in found.cells:
        if cell.folder in teachers:
            continue
        call = [str(PIPELINE), cell.spelling, *cell.overrides]
        print(shlex.join(call), flush=True)
        if not dry and subprocess.run(call, check=False).returncode:
            lost.append(found.name(cell))
    if lost:
        raise UserError(f"not submitted: {'; '.join(lost)}", hint="see above why, and start the same command again")
