"""The share of their steps that training runs waited for data, from their metrics.jsonl.

    python -m benchmarks.waiting RUNS ...

Prints a line per run: the median, the mean and the largest value of its log lines, in percent of the step time.
"""

import argparse
import json
import statistics
from pathlib import Path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path)
    options = arguments.parse_args()
    print("| run | log lines | median | mean | largest |\n|---|---|---|---|---|")
    for runs in options.runs:
        for path in sorted(runs.rglob("metrics.jsonl")):
            shares = [100 * share for share in waiting(path)]
            if shares:
                values = (statistics.median(shares), statistics.mean(shares), max(shares))
                name = path.parent.relative_to(runs)
                print(f"| {name} | {len(shares)} | {' | '.join(f'{value:.2f} %' for value in values)} |")


def waiting(path: Path) -> list[float]:
    """Return the share of the step time of every log line, 0 to 1."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line["speed"]["waiting_for_data"] for line in lines if "speed" in line]


if __name__ == "__main__":
    main()
