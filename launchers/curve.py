"""``tutelage curve CONFIG``: how many labels pseudo-labels save, in this process or as jobs of a cluster."""

import argparse
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from analysis.grid import samples, state
from analysis.results.table import as_rich
from launchers.grid import compare_samples, submit, tell_failures
from shards.errors import UserError
from shards.extras import need
from trainer.progress import say, show
from trainer.ranks import rank

if TYPE_CHECKING:
    from analysis.curve.study import Study


def curve(options: argparse.Namespace) -> None:
    if not (options.sbatch or options.dry_run):
        need("curve", "matplotlib")  # it draws, after hours
    from analysis.curve.study import Study  # scipy takes a second to import

    study = Study(
        options.config,
        _numbers(options.labels),
        options.seeds,
        options.overrides,
        task=options.task,
        baselines=options.baseline,
        roots=options.runs,
        out=options.out,
    )
    _describe(study)
    if options.sbatch:
        submit(study, dry=options.dry_run)
    elif not options.dry_run:
        _run(study)


def _run(study: "Study") -> None:
    """Run it here, and show and write what it gave.

    Raises:
        UserError: at the end, when a run failed.
    """
    from analysis.curve.table import tabulate

    failed = study.run()
    found = study.curve()
    if found.metrics and rank() == 0:  # where no student is finished there is nothing to draw
        for table in tabulate(found):
            show(as_rich(table))
            for note in table.notes:
                say(note)
        say(f"written: {', '.join(map(str, study.write(found)))}")
    tell_failures(study, failed)


def _describe(study: "Study") -> None:
    """What will be run, and how far it is."""
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    titles = [f"{study.task} labels", "run", "teacher", "samples", *(f"seed {seed}" for seed in study.seeds), "root"]
    for title in titles:
        table.add_column(title, overflow="fold")
    rows: dict[tuple[int, str], list[str]] = {}
    for cell in study.cells:
        name = cell.config.experiment
        teachers = ", ".join(each.config.experiment for each in study.teachers(cell)) or "–"
        row = rows.setdefault((study.budget(cell), name), [str(study.budget(cell)), name, teachers, samples(cell)])
        row.append(state(cell))
    roots = {study.budget(cell): str(cell.config.run.root) for cell in study.cells}
    for (budget, _), row in sorted(rows.items(), key=lambda item: item[0][0]):
        table.add_row(*row, roots[budget])
    show(table)
    compare_samples(row[3] for row in rows.values())


def _numbers(text: str) -> list[int]:
    """``25,50,100``."""
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"{text} is not a list of budgets", key="--labels", hint="write --labels 25,50,100") from None
