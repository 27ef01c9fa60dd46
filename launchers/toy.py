"""``tutelage toy``: the paper's toy example, under protocols that were fixed before anything was measured."""

import argparse

from analysis.results.table import as_markdown, as_rich
from shards.errors import UserError
from shards.extras import need
from trainer.progress import console, progress, show


def toy(options: argparse.Namespace) -> None:
    if options.picture:
        need("toy --picture", "matplotlib")
    from analysis.toy.example import Toy, steps_of
    from analysis.toy.functions import PAIRS
    from analysis.toy.picture import picture
    from analysis.toy.table import compare, tabulate

    if options.seeds < 1:
        raise UserError(f"{options.seeds} seeds", key="--seeds", hint="give 1 or more")
    pair = PAIRS[options.functions]
    total = sum(steps_of(protocol) for protocol in pair.protocols)
    with progress("toy", total, show=options.format == "text") as report:
        toys = [Toy(pair, protocol, range(options.seeds), report) for protocol in pair.protocols]
        found = [each for toy in toys for each in toy.run()]
    tables = [tabulate(pair, found), compare(found)]
    if options.format == "md":
        print("\n\n".join(as_markdown(table) for table in tables))
    else:
        for table in tables:
            show(as_rich(table))
    if options.picture:
        picture(toys, found, options.picture)
        console.print(f"wrote {options.picture}", soft_wrap=True)
