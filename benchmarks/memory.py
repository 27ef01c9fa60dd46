"""Benefit of keeping the memory of freed tensors: training steps with and without :mod:`trainer.memory`.

    python -m benchmarks.memory CONFIG [key=value ...] [--rounds N] [--steps N]

Every round starts two trainings, one after the other. Prints the median step time and the peak memory of both, and
their ratios.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise

from trainer.experiment import Experiment
from trainer.trainstage import trainer_of

ENVIRONMENT = {"given back": {"MALLOC_ARENA_TEST": "8"}, "kept": {}}  # glibc's default: setting it keeps it fixed


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=12)
    arguments.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.measure:
        print(json.dumps(measure(options.config, options.overrides, options.steps)))
        return
    figures: dict[str, list[tuple[float, float]]] = {way: [] for way in ENVIRONMENT}
    for _ in range(options.rounds):
        for way, setting in ENVIRONMENT.items():
            command = [sys.executable, "-m", "benchmarks.memory", *sys.argv[1:], "--measure"]
            out = subprocess.run(command, env=os.environ | setting, check=True, stdout=subprocess.PIPE).stdout
            figures[way].append(json.loads(out.splitlines()[-1]))
    medians = {
        way: [statistics.median(values) for values in zip(*pairs, strict=True)] for way, pairs in figures.items()
    }
    for way, (seconds, gigabytes) in medians.items():
        rounds = " ".join(f"{1000 * seconds:.0f}" for seconds, _ in figures[way])
        print(f"{way:10} {1000 * seconds:7.0f} ms a step (rounds: {rounds}), {gigabytes:.2f} GB")
    time_ratio, memory_ratio = (a / b for a, b in zip(medians["kept"], medians["given back"], strict=True))
    print(f"kept / given back: {time_ratio:.2f} of the time, {memory_ratio:.2f} of the memory")


def measure(config: str, overrides: list[str], steps: int) -> tuple[float, float]:
    """Return the median seconds of a training step after the first four, and the peak memory of the process in GB."""
    with tempfile.TemporaryDirectory() as folder:
        fixed = [f"run.path={folder}", f"train.steps={steps}", f"checkpoint.every={steps + 1}"]
        trainer = trainer_of(Experiment(config, [*overrides, *fixed]))
        ends = [time.perf_counter() for _ in trainer.iterate()]
    seconds = statistics.median(end - start for start, end in pairwise(ends[3:]))
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # from KiB


if __name__ == "__main__":
    main()
