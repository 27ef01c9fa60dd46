"""A label curve from the CSV of ``python -m benchmarks.rows``, without the runs: its table and its picture.

    python -m benchmarks.labelcurve ROWS.csv [--roles umst-s,umst-ps,mmst] [--task semseg] [--out CURVE.png]

Prints the same as ``tutelage curve`` for finished runs. Columns of a network are empty for budgets where it is missing;
the other networks are compared with all budgets of the baseline.
"""

import argparse
import csv
from pathlib import Path

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point
from analysis.curve.picture import draw
from analysis.curve.table import tabulate
from analysis.curve.words import remarks
from analysis.results.headlines import SHOWN
from analysis.results.table import as_rich
from launchers.console import print_line, print_table


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rows", type=Path)
    arguments.add_argument("--roles", default="umst-s,umst-ps,mmst", help="baseline, student, teacher")
    arguments.add_argument("--task", default="semseg")
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    curve = curve_of(options.rows, options.roles.split(","), options.task)
    for table in tabulate(curve):
        print_table(as_rich(table))
        for note in table.notes:
            print_line(note)
    for remark in remarks(curve):
        print_line(remark)
    if options.out:
        draw(curve, options.out)


def curve_of(path: Path, roles: list[str], task: str) -> LabelCurve:
    """Return the curves of a task's headline metrics, by role over budgets and seeds."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["experiment"] in roles]
    budgets = sorted({int(row[f"labels {task}"]) for row in rows})
    baseline, student, teacher = roles

    def metric_curve(metric: str) -> MetricCurve:
        def values(role: str, count: int) -> dict[int, float]:
            seed_rows = [row for row in rows if row["experiment"] == role and int(row[f"labels {task}"]) == count]
            return {int(row["seed"]): float(row[f"{task} {metric}"]) for row in seed_rows}

        points = tuple(Point(count, *(values(role, count) for role in roles)) for count in budgets)
        return MetricCurve(task, metric, student, baseline, teacher, points)

    metrics = tuple(metric_curve(metric) for metric in SHOWN if f"{task} {metric}" in rows[0])
    seeds = tuple(sorted({int(row["seed"]) for row in rows}))
    return LabelCurve(rows[0]["dataset"], task, student, tuple(budgets), seeds, metrics)


if __name__ == "__main__":
    main()
