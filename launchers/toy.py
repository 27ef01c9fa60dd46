"""``tutelage toy``: the paper's toy example, under protocols that were fixed before anything was measured."""

import argparse

from analysis.results.table import as_markdown, as_rich
from launchers.console import console, print_table
from shards.errors import UserError
from shards.extras import need
from trainer.progress import progress


def toy(options: argparse.Namespace) -> None:
    if options.picture:
        need("toy --picture", "matplotlib")
    from analysis.toy.example import Toy, total_steps
    from analysis.toy.functions import PAIRS
    from analysis.toy.picture import picture
    from analysis.toy.table import compare, tabulate

    if options.seeds < 1:
        raise UserError(f"{options.seeds} seeds", key="--seeds", hint="give 1 or more")
    pair = PAIRS[options.functions]
    total = sum(total_steps(protocol) for protocol in pair.protocols)
    with progress("toy", total, show=options.format == "text") as report:
        toys = [Toy(pair, protocol, range(options.seeds), report) for protocol in pair.protocols]
        results = [result for toy in toys for result in toy.run()]
    tables = [tabulate(pair, results), compare(results)]
    if options.format == "md":
        print("\n\n".join(as_markdown(table) for table in tables))
    else:
        for table in tables:
            print_table(as_rich(table))
    if options.picture:
        picture(toys, results, options.picture)
        console.print(f"wrote {options.picture}", soft_wrap=True)
