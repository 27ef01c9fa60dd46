"""Every finished run under some folders as a line of CSV, to keep the results without the runs.

    python -m benchmarks.rows RUNS ... > docs/results/NAME.csv

Columns: the budget of each task, experiment, seed, steps and samples, every scalar metric, and versions.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from analysis.results.groups import collect
from trainer.runs.result import Result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path)
    options = arguments.parse_args()
    rows = sorted(map(row, collect(options.runs)), key=lambda entry: [str(value) for value in entry.values()])
    columns = dict.fromkeys(name for entry in rows for name in entry)
    writer = csv.DictWriter(sys.stdout, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


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
    return budget | facts | metrics | {key: result.environment.get(key) for key in ("commit", "torch")}


if __name__ == "__main__":
    main()
