"""Time to the first batch, and memory over an epoch, by the number of threads, the position and the size of the data.

    python -m benchmarks.startup [--frames N] [--rounds N]

Data sets of noise with 100 frames of 96×128 per shard: N frames and 10 N frames, with a segmentation label in all
frames or in every other one (then the indexes of all shards tell which). Every measurement is a process of its own,
which imports everything before the clock starts: the time from opening the data set to a training batch of 16, with 1,
4 and 12 threads, at the first step of an epoch, in its middle and at its end; and the largest memory (PSS) while the
whole epoch is read, in total and above that before the data set was opened. Prints a table of medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.readers import pss
from shards.pack import pack
from shards.sources.base import Frame
from shards.tasks import Task

BATCH, THREADS, PLACES = 16, (1, 4, 12), ("begin", "middle", "end")


class Noise:
    """Frames of noise, all or every other one with a segmentation label (:class:`shards.sources.base.Source`)."""

    name = "noise"
    tasks = (Task("semseg", "classes", tuple("abcdefgh")),)

    def __init__(self, frames: int, label_every: int) -> None:
        self.frames, self.label_every = frames, label_every

    @cached_property
    def splits(self) -> Mapping[str, Sequence[str]]:
        return {"train": [f"train_{number:06d}" for number in range(self.frames)], "val": ["val_0"]}

    @property
    def options(self) -> dict[str, Any]:
        return {"frames": self.frames, "label_every": self.label_every}

    def load(self, split: str, position: int) -> Frame:
        coarse = np.random.default_rng(position).integers(0, 256, (12, 16, 3), np.uint8)
        rgb = coarse.repeat(8, 0).repeat(8, 1)
        return Frame(rgb, {} if position % self.label_every else {"semseg": rgb[..., 0] // 32})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--frames", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.measure:
        folder, threads, place = options.measure
        print(json.dumps(measure(Path(folder), int(threads), place)))
        return
    with tempfile.TemporaryDirectory() as folder:
        print("| frames | with a label | threads | " + " | ".join(f"first batch, {place}" for place in PLACES), end="")
        print(" | memory over an epoch | of which data |\n" + "|---" * 8 + "|")
        for frames in (options.frames, 10 * options.frames):
            for label_every, name in ((1, "all"), (2, "half")):
                data = Path(folder) / f"{frames}-{label_every}"
                pack(Noise(frames, label_every), data, samples_per_shard=100, jobs=2)
                for threads in THREADS:
                    print(f"| {frames} | {name} | {threads} | {row(data, threads, options.rounds)} |", flush=True)


def row(data: Path, threads: int, rounds: int) -> str:
    """Return the measured cells of a data set and a number of threads."""
    cells, memory = [], []
    for place in PLACES:
        results = [run(data, threads, place) for _ in range(rounds)]
        seconds = sorted(result["first"] for result in results)
        cells.append(f"{statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f})")
        memory += [result["memory"] for result in results if result["memory"]]
    most, data_only = (statistics.median(values) for values in zip(*memory, strict=True))
    return " | ".join([*cells, f"{most:.0f} MB", f"{data_only:.0f} MB"])


def run(data: Path, threads: int, place: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.startup", "--measure", str(data), str(threads), place]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return json.loads(output.stdout.splitlines()[-1])


def measure(data: Path, threads: int, place: str) -> dict[str, Any]:
    """Time one start in this process and, from the first step on, read an epoch."""
    from shards.dataset import ShardDataset
    from shards.stream import Batches
    from trainer.sections import Augment
    from trainer.trainingdata import TrainingData

    before = pss(os.getpid())
    start = time.perf_counter()
    train = ShardDataset(data)
    frames = TrainingData(train, ["rgb"], ["semseg"], augment=Augment(), num_workers=threads)
    steps = frames.samples // BATCH
    first_step = {"begin": 0, "middle": steps // 2, "end": steps - 1}[place]
    batches = frames.batches(Batches(BATCH), first_step, steps)
    next(batches)
    first = time.perf_counter() - start
    if place != "begin":
        return {"first": first, "memory": None}
    most = 0.0
    for number, _ in enumerate(batches):
        if number % 20 == 0:
            most = max(most, pss(os.getpid()))
    return {"first": first, "memory": (most, most - before)}


if __name__ == "__main__":
    main()
