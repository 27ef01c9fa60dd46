"""Convergence of training losses: the curves of runs as a picture, and the last tenth against the tenth before.

    python -m benchmarks.curves RUN [RUN ...] --out curves.png

Prints, for every run, the mean total loss of the last tenth of its steps, of the tenth before, and their ratio.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

from matplotlib import pyplot

from shards.atomic import atomic_file


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path, help="folders of runs (…/EXPERIMENT/seed-K)")
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.set_prop_cycle(color=pyplot.get_cmap("tab10" if len(options.runs) <= 10 else "tab20").colors)
    for run in options.runs:
        steps, losses = curve(run)
        axes.plot(steps, smooth(losses), label=run.parent.name)
        tenth = max(len(losses) // 10, 1)
        before, last = fmean(losses[-2 * tenth : -tenth]), fmean(losses[-tenth:])
        print(f"{run.parent.name}: last tenth {last:.3f}, tenth before {before:.3f}, ratio {last / before:.3f}")
    axes.set(xlabel="step", ylabel="training loss (all tasks and scales)", yscale="log")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    with atomic_file(options.out) as file:
        figure.savefig(file, format="png", dpi=110)


def curve(run: Path) -> tuple[list[int], list[float]]:
    """Return steps and total training losses from a run's ``metrics.jsonl``."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if "loss" in line]
    return [line["step"] for line in lines], [line["loss"]["total"] for line in lines]


def smooth(values: list[float], width: int = 9) -> list[float]:
    """Return a running mean, with a shorter window at the ends."""
    half = width // 2
    return [fmean(values[max(i - half, 0) : i + half + 1]) for i in range(len(values))]


if __name__ == "__main__":
    main()
