"""``tutelage grid DATASET``: all rows of a table, in this process or as jobs of a cluster."""

import argparse
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from analysis.grid import Cells, Grid, samples, state
from analysis.results.groups import collect
from launchers.console import print_line, print_table
from launchers.report import show_results
from shards.errors import UserError
from trainer.runs.status import FINISHED

PIPELINE, SITE = Path("slurm/pipeline.sh"), Path("slurm/site.env")


def grid(options: argparse.Namespace) -> None:
    rows = [row.strip() for row in options.rows.split(",")] if options.rows is not None else None
    plan = Grid(options.dataset, rows, options.seeds, options.overrides)
    _show_plan(plan)
    if options.sbatch:
        submit(plan, dry=options.dry_run)
    elif not options.dry_run:
        _run(plan)


def _run(plan: Grid) -> None:
    """Run all cells in this process, then show the results.

    Raises:
        UserError: at the end, when a run failed.
    """
    failed = plan.run()
    finished = [cell.folder for cell in plan.cells if cell.folder not in failed and state(cell) == FINISHED]
    if finished:
        show_results(collect(finished))
    raise_failures(plan, failed)


def raise_failures(plan: Cells, failed: Mapping[Path, str]) -> None:
    """Report failed runs at the end of a command.

    Raises:
        UserError: when a run failed.
    """
    if failed:
        names = "; ".join(plan.name(cell) for cell in plan.cells if cell.folder in failed)
        hint = "see above why, and start the same command again: what is finished is kept"
        raise UserError(f"{len(failed)} of {len(plan.cells)} runs failed: {names}", hint=hint)


def _show_plan(plan: Grid) -> None:
    """Show the runs and their states."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for title in ("row", "teacher", "samples", *(f"seed {seed}" for seed in plan.seeds)):
        table.add_column(title)
    rows: dict[str, list[str]] = {}
    for cell in plan.cells:
        teachers = ", ".join(teacher.config.experiment for teacher in plan.teachers(cell)) or "–"
        row = rows.setdefault(cell.config.experiment, [cell.config.experiment, teachers, samples(cell)])
        row.append(state(cell))
    for row in rows.values():
        table.add_row(*row)
    print_table(table)
    note_unequal_samples([row[2] for row in rows.values()])


def note_unequal_samples(rows: Sequence[str]) -> None:
    """Print a note if rows may differ in what :func:`analysis.grid.samples` returns of them."""
    advice = "compare only rows with equal numbers of samples"
    if len(rows) > 1 and any("epochs" in samples for samples in rows):
        print_line(f"in equal epochs, rows with more frames see more samples: {advice} (train.steps)")
    elif len(set(rows)) > 1:
        print_line(f"rows differ in the samples that their networks see: {advice}")


def submit(plan: Cells, *, dry: bool) -> None:
    """Submit every row that is not a teacher to the cluster's pipeline, which includes its teachers.

    Raises:
        UserError: when the script is missing, or a submission failed.
    """
    if not PIPELINE.exists():
        hint = "start this in a clone, or in a project of `tutelage init`"
        raise UserError("does not exist", file=PIPELINE, hint=hint)
    teachers = {teacher.folder for cell in plan.cells for teacher in plan.teachers(cell)}
    failed = []
    for cell in plan.cells:
        if cell.folder in teachers:
            continue
        call = [str(PIPELINE), cell.spelling, *cell.overrides]
        print(shlex.join(call), flush=True)
        if not dry and subprocess.run(call, check=False).returncode:
            failed.append(plan.name(cell))
    if failed:
        raise UserError(f"not submitted: {'; '.join(failed)}", hint="see above why, and start the same command again")


def storage_of_site() -> str:
    """Return ``STORAGE`` of ``slurm/site.env``, which is shell: where jobs put runs and data; empty if not set."""
    script = f'[ ! -f {SITE} ] || . {SITE} >/dev/null; printf %s "${{STORAGE:-}}"'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False).stdout
