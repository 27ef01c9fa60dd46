"""``tutelage curve CONFIG``: the labels saved by pseudo-labels, measured in this process or as jobs of a cluster."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from analysis.grid import samples, state
from analysis.results.table import as_rich
from launchers.console import print_line, print_table
from launchers.grid import SITE, note_unequal_samples, raise_failures, storage_of_site, submit
from shards.errors import UserError
from shards.extras import need
from trainer.ranks import rank

if TYPE_CHECKING:
    from analysis.curve.study import Study


def curve(options: argparse.Namespace) -> None:
    if not (options.sbatch or options.dry_run):
        need("curve", "matplotlib")  # fail now rather than when it draws, hours later
    from analysis.curve.study import Study  # scipy takes a second to import

    study = Study(
        options.config,
        _parse_numbers(options.labels),
        options.seeds,
        options.overrides,
        task=options.task,
        baselines=options.baseline,
        roots=options.runs,
        out=options.out,
    )
    study.check_budgets()
    if options.sbatch and not options.runs:
        _check_root(study)
    _show_plan(study)
    if options.sbatch:
        submit(study, dry=options.dry_run)
    elif not options.dry_run:
        _run(study)


def _check_root(study: "Study") -> None:
    """Make sure that the site's jobs put a curve's runs where this command will look for them.

    Raises:
        UserError: when the site has a folder of its own for runs, and this command was not given one.
    """
    storage = storage_of_site()
    if not storage or any(override.startswith("run.root=") for override in study.overrides):
        return
    if not Path(study.config.run.root).absolute().is_relative_to(storage):
        message = f"puts runs and data of jobs under {storage}, where this command does not look"
        places = f"run.root={storage}/runs 'data.path={storage}/data/${{data.name}}'"
        raise UserError(message, file=SITE, key="STORAGE", hint=f"add {places}, also without --sbatch")


def _run(study: "Study") -> None:
    """Run all cells in this process, then show and write the curve.

    Raises:
        UserError: at the end, when a run failed.
    """
    from analysis.curve.table import tabulate
    from analysis.curve.words import remarks

    failed = study.run()
    result = study.curve(failed)
    if result.curves and rank() == 0:  # there are no metrics to draw until a student is finished
        for table in tabulate(result):
            print_table(as_rich(table))
            for note in table.notes:
                print_line(note)
        for remark in remarks(result):
            print_line(remark)
        print_line(f"written: {', '.join(map(str, study.write(result)))}")
    raise_failures(study, failed)


def _show_plan(study: "Study") -> None:
    """Show the runs and their states."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    titles = [f"{study.task} labels", "run", "teacher", "samples", *(f"seed {seed}" for seed in study.seeds), "root"]
    for title in titles:
        table.add_column(title, overflow="fold")
    rows: dict[tuple[int, str], list[str]] = {}
    for cell in study.cells:
        name = cell.config.experiment
        teachers = ", ".join(teacher.config.experiment for teacher in study.teachers(cell)) or "–"
        row = rows.setdefault((study.budget(cell), name), [str(study.budget(cell)), name, teachers, samples(cell)])
        row.append(state(cell))
    roots = {study.budget(cell): str(cell.config.run.root) for cell in study.cells}
    for (budget, _), row in sorted(rows.items(), key=lambda item: item[0][0]):
        table.add_row(*row, roots[budget])
    print_table(table)
    note_unequal_samples([row[3] for row in rows.values()])


def _parse_numbers(text: str) -> list[int]:
    """Parse a list of numbers such as ``25,50,100``."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{text} is not a list of budgets", key="--labels", hint="write --labels 25,50,100") from None
