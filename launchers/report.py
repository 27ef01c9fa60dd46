"""The commands that show results: table, picture and report."""

import argparse
import sys
from collections.abc import Mapping, Sequence

from analysis.results.groups import check_exist, collect
from analysis.results.paper import Paper
from analysis.results.table import as_csv, as_markdown, as_rich
from launchers.console import console, print_line, print_table
from shards.errors import UserError
from shards.extras import need
from trainer.runs.result import Result


def table(options: argparse.Namespace) -> None:
    from analysis.behind import own_result_files  # scipy takes a second to import
    from analysis.results.comparison import parse_pairs

    files, notes = own_result_files(options.runs)
    results = collect(files)
    pairs = parse_pairs(options.compare, results)
    metrics = {task: metric for task, _, metric in (text.partition("=") for text in options.metric)}
    show_results(results, options.format, pairs, metrics)
    for note in notes:
        if options.format == "text":
            print_line(note)
        else:
            print(f"tutelage: {note}", file=sys.stderr)


def show_results(
    results: list[Result],
    style: str = "text",
    pairs: Sequence[tuple[str, str]] = (),
    metrics: Mapping[str, str] | None = None,
) -> None:
    """Print the table of some results beside the paper's figures, and the possible comparisons.

    Args:
        style: ``text``, ``md`` or ``csv``.
        pairs: experiments to compare in addition to the paper's comparisons, the first minus the second.
        metrics: by task, a metric that is shown too, and that ΔMTL compares.
    """
    from analysis.results.comparison import not_compared, tables  # scipy takes a second to import

    paper = Paper.load()
    for number, table in enumerate(tables(results, paper, pairs, metrics)):
        if style == "text":
            print_table(as_rich(table))
            for note in table.notes:
                print_line(note)
        else:
            print("\n" * (number > 0) + (as_markdown(table) if style == "md" else as_csv(table)))
    if style == "csv":  # which has no place for notes
        for note in not_compared(results, paper, pairs):
            print(f"tutelage: {note}", file=sys.stderr)


def picture(options: argparse.Namespace) -> None:
    need("picture", "matplotlib")
    from trainer.experiment import Experiment

    overrides = [argument for argument in options.configs if "=" in argument] + options.overrides
    configs = [argument for argument in options.configs if "=" not in argument]
    if not configs:
        raise UserError("no configuration was given", key="CONFIG", hint="name one or more trained experiments")
    experiments = [Experiment(config, overrides) for config in configs]
    from analysis.panel import panel  # which imports torch, unlike what finds mistakes in the configurations

    panel(experiments, options.out, options.frames)
    console.print(f"wrote {options.out}", soft_wrap=True)


def report(options: argparse.Namespace) -> None:
    need("report", "contourpy", "jinja2", "markupsafe", "matplotlib")
    check_exist(options.runs)  # before torch is imported, which takes seconds
    from analysis.report.page import write

    write(options.runs, options.out, frames=options.frames, data=options.data, compare=options.compare)
    console.print(f"wrote {options.out}", soft_wrap=True)
