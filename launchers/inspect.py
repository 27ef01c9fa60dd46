"""``tutelage inspect DATASET``: the contents of a data set, their verification, and a contact sheet."""

import argparse

from rich.table import Table
from rich.text import Text

from launchers.console import console
from shards.extras import need
from shards.inspect import contact_sheet, remarks, split_rows, verify
from shards.manifest import Manifest
from trainer.progress import progress


def inspect(options: argparse.Namespace) -> None:
    if options.picture:
        need("inspect --picture", "matplotlib")
    manifest = Manifest.load(options.dataset)
    summary(manifest)
    if options.verify:
        total = sum(manifest.samples(split) for split in manifest.splits)
        with progress("verify", total) as report:
            checked = verify(manifest, report)
        console.print(f"{checked} samples verified: all bytes match the manifest, all members decode")
    if options.picture:
        contact_sheet(manifest, options.split, options.picture, options.frames)
        console.print(f"wrote {options.picture}", soft_wrap=True)


def summary(manifest: Manifest) -> None:
    """Print samples and labels by split, class frequencies, value ranges, and remarks."""
    size = f"{manifest.size[0]}x{manifest.size[1]}" if manifest.size else "original sizes"
    size += ", stored for crops" if manifest.tiled else ""
    names = [task.name for task in manifest.tasks]
    table = Table("split", "shards", "frames", *names, "MB", title=f"{manifest.name}, {size}: {manifest.folder}")
    for row in split_rows(manifest):
        table.add_row(*row)
    console.print(table)
    for task in manifest.tasks:
        for split, statistics in manifest.statistics.items():
            if not manifest.splits[split]:
                continue
            text = task.storage.describe(statistics[task.name])
            console.print(Text.assemble((task.name, "bold"), f" {split}: {text}"))
    for line in remarks(manifest):
        console.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
