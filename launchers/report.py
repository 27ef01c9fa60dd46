"""The commands that show results: table and picture."""

import argparse

from shards.errors import UserError
from trainer.progress import console, show
from trainer.table import as_csv, as_markdown, as_rich, collect, tabulate


def table(options: argparse.Namespace) -> None:
    results = tabulate(collect(options.runs))
    if options.format == "text":
        show(as_rich(results))
    else:
        print(as_markdown(results) if options.format == "md" else as_csv(results))


def picture(options: argparse.Namespace) -> None:
    from trainer.experiment import Experiment
    from trainer.panel import panel

    overrides = [argument for argument in options.configs if "=" in argument] + options.overrides
    configs = [argument for argument in options.configs if "=" not in argument]
    if not configs:
        raise UserError("no configuration was given", key="CONFIG", cure="name one or more trained experiments")
    panel([Experiment(config, overrides) for config in configs], options.out, options.frames)
    console.print(f"wrote {options.out}", soft_wrap=True)
