"""Every finished run under some folders as a line of CSV, to keep the results without the runs.

    python -m benchmarks.rows RUNS ... > docs/results/NAME.csv
    python -m benchmarks.rows RUNS ... --into docs/results/NAME.csv     # adds to a file; a run replaces its own line

Columns: the budget of each task, experiment, seed, steps and samples, every scalar metric, and versions.
"""

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from analysis.results.groups import collect
from shards.atomic import atomic_file
from trainer.runs.result import Result

_VERSIONS = ("commit", "torch")
_RUN = ("dataset", "split", "frames", "experiment", "seed", "steps", "samples")
"""Columns that, with the budgets, tell runs apart."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path)
    arguments.add_argument("--into", type=Path, help="a file that the rows are added to")
    options = arguments.parse_args()
    rows = sorted(map(row, collect(options.runs)), key=lambda entry: [str(value) for value in entry.values()])
    if options.into is None:
        write(rows, sys.stdout)
        return
    with options.into.open(newline="", encoding="utf-8") as file:
        merged = merge(list(csv.DictReader(file)), rows)
    text = io.StringIO()
    write(merged, text)
    with atomic_file(options.into) as file:
        file.write(text.getvalue().encode())


def write(rows: Sequence[Mapping[str, Any]], file: TextIO) -> None:
    """Write rows as CSV, with the metrics of all, the facts of a run before them, and versions behind."""
    names = dict.fromkeys(name for entry in rows for name in entry)
    columns = sorted(names, key=lambda name: (name in _VERSIONS, " " in name and not name.startswith("labels ")))
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def merge(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return old and new rows in the order of budgets, experiments and seeds; a new row replaces that of its run.

    Raises:
        SystemExit: when it is not known which one, such as in a file with a column of its own that tells rows apart.
    """

    def run(entry: Mapping[str, Any]) -> str:
        names = [name for name in entry if name.startswith("labels ")] + [*_RUN]
        return str([(name, str(entry[name])) for name in names if entry.get(name) not in (None, "")])

    before, added = Counter(map(run, old)), Counter(map(run, new))
    for name, count in added.items():
        if count > 1 or before[name] > 1:
            raise SystemExit(f"several rows are of the same run: {name}")
    return sorted([*(entry for entry in old if run(entry) not in added), *new], key=_order)


def _order(entry: Mapping[str, Any]) -> list[Any]:
    budgets = [int(entry[name]) for name in entry if name.startswith("labels ") and entry[name]]
    return [budgets, entry["experiment"], int(entry["seed"]), int(entry["steps"])]


def row(result: Result) -> dict[str, Any]:
    """Return the columns of a run, budgets first, so that comparable rows are adjacent."""
    budget = {f"labels {task}": count for task, count in (result.budget or {}).items()}
    facts: dict[str, Any] = {"experiment": result.experiment, "seed": result.seed, "dataset": result.dataset}
    facts |= {"split": result.asked.split, "frames": result.validation_frames, "steps": result.steps}
    facts["samples"] = result.samples_seen
    metrics = {
        f"{task} {name}": round(value, 6)
        for task, values in result.metrics.items()
        for name, value in values.items()
        if isinstance(value, float)
    }
    return budget | facts | metrics | {key: result.environment.get(key) for key in _VERSIONS}


if __name__ == "__main__":
    main()
