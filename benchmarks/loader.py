"""Frames per second that one thread reads, decodes and augments, and the size of a frame on the disk.

    python -m benchmarks.loader CONFIG [key=value ...] [--seconds N]

Runs in this process, with one thread and no neural network; the first batches, which open the shards, are not counted.
Files may come from the operating system's cache: a cold disk or a network adds its own time, in parallel.
"""

import argparse
import itertools
import time

import torch

from shards.stream import Batches
from trainer.experiment import TRAIN, Experiment
from trainer.trainingdata import TrainingData

WARM_UP = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--seconds", type=float, default=10)
    options = arguments.parse_intermixed_args()
    torch.set_num_threads(1)
    experiment = Experiment(options.config, [*options.overrides, "data.num_workers=0"])
    config = experiment.config
    size = config.train.global_batch_size
    batches = TrainingData.of(config, experiment.training_frames()).batches(Batches(size), 0, 10**9)
    for batch in itertools.islice(batches, WARM_UP):
        shape = tuple(batch.rgb.shape[2:])
    start, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < options.seconds:
        next(batches)
        count += size
    shards = experiment.manifest.shards(TRAIN)
    frame_bytes = sum(shard.bytes for shard in shards) / sum(shard.samples for shard in shards)
    print(f"{count / seconds:.1f} frames/s, {1000 * seconds / count:.1f} ms a frame of {shape[0]}x{shape[1]}")
    print(f"{frame_bytes / 1e6:.3f} MB a frame in the shards, {frame_bytes * count / seconds / 1e6:.1f} MB/s read")


if __name__ == "__main__":
    main()
