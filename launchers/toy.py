"""``tutelage toy``: the paper's toy example, under protocols that were fixed before anything was measured."""

import argparse

from shards.errors import UserError
from trainer.progress import console, progress, say, show
from trainer.results.table import as_markdown, as_rich


def toy(options: argparse.Namespace) -> None:
    from trainer.toy.example import PROTOCOLS, Toy
    from trainer.toy.table import picture, tabulate

    if options.seeds < 1:
        raise UserError(f"{options.seeds} seeds", key="--seeds", cure="give 1 or more")
    total = sum(protocol.steps for protocol in PROTOCOLS)
    with progress("toy", total, show=options.format == "text") as report:
        toys = [Toy(protocol, range(options.seeds), report) for protocol in PROTOCOLS]
        found = [each for toy in toys for each in toy.run()]
    table = tabulate(found)
    if options.format == "md":
        print(as_markdown(table))
    else:
        show(as_rich(table))
        for note in table.notes:
            say(note)
    if options.picture:
        picture(toys, found, options.picture)
        console.print(f"wrote {options.picture}", soft_wrap=True)
