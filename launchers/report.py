"""The commands that show results: table, picture and report."""

import argparse
from typing import Any

from shards.errors import UserError
from trainer.progress import console, say, show
from trainer.results.paper import Paper
from trainer.results.table import as_csv, as_markdown, as_rich, collect, tabulate


def table(options: argparse.Namespace) -> None:
    show_results(collect(options.runs), options.format)


def show_results(results: list[dict[str, Any]], style: str = "text") -> None:
    """Print the table of some results beside the paper's figures, and the comparisons that can be made.

    Args:
        style: ``text``, ``md`` or ``csv``.
    """
    from trainer.results.comparison import compare  # scipy takes a second to import

    paper = Paper.load()
    tables = [tabulate(results, paper)]
    if len(results) > 1 and (compared := compare(results, paper)).rows:
        tables.append(compared)
    for number, each in enumerate(tables):
        if style == "text":
            show(as_rich(each))
            for note in each.notes:
                say(note)
        else:
            print("\n" * (number > 0) + (as_markdown(each) if style == "md" else as_csv(each)))


def picture(options: argparse.Namespace) -> None:
    from trainer.experiment import Experiment
    from trainer.panel import panel

    overrides = [argument for argument in options.configs if "=" in argument] + options.overrides
    configs = [argument for argument in options.configs if "=" not in argument]
    if not configs:
        raise UserError("no configuration was given", key="CONFIG", cure="name one or more trained experiments")
    panel([Experiment(config, overrides) for config in configs], options.out, options.frames)
    console.print(f"wrote {options.out}", soft_wrap=True)


def report(options: argparse.Namespace) -> None:
    from trainer.report.page import write

    write(options.runs, options.out, frames=options.frames, data=options.data)
    console.print(f"wrote {options.out}", soft_wrap=True)
