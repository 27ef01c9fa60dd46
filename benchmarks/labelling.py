"""What a labelling pass takes beside its network's forward passes: frames a second of both, in turn.

    python -m benchmarks.labelling CONFIG [key=value ...] [--rounds N]

CONFIG is a teacher that is trained. A pass reads, decodes, computes, decides, encodes and writes, as ``tutelage label``
does, into a folder that is deleted afterwards; the bare forward passes are of as many frames, in batches of the same
size that lie ready. The first round warms up and is not counted.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch

from shards.stream import Position
from trainer.averaging import outputs_of
from trainer.data import Collate, FrameLoader, load_batches
from trainer.experiment import Experiment
from trainer.pseudolabels.labelling import label
from trainer.runs import checkpoint

READY = 4
"""Batches that the bare forward passes go over again and again."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        shutil.copytree(Experiment(options.config, options.overrides).folder, run)
        experiment = Experiment(options.config, [*options.overrides, f"run.path={run}"])
        bare = Bare(experiment)
        ratios, rates = [], []
        for number in range(options.rounds + 1):
            shutil.rmtree(experiment.labels, ignore_errors=True)
            began = time.perf_counter()
            label(experiment)
            between = time.perf_counter()
            bare()
            passes, forward = between - began, time.perf_counter() - between
            if number:
                ratios.append(forward / passes)
                rates.append((bare.frames / passes, bare.frames / forward))
    own, other = (statistics.median(of) for of in zip(*rates, strict=True))
    low, high = min(ratios), max(ratios)
    print(f"{torch.get_num_threads()} threads, {bare.frames} frames, batches of {bare.size}, {options.rounds} rounds")
    print(f"label {own:.1f} frames/s, bare forward passes {other:.1f} frames/s (medians)")
    print(f"ratio {statistics.median(ratios):.3f}, median of the rounds ({low:.3f} to {high:.3f})")


class Bare:
    """The forward passes of a labelling pass, on inputs that lie ready."""

    def __init__(self, experiment: Experiment) -> None:
        frames, mask = experiment.frames_to_label()
        self.experiment, self.frames, self.size = experiment, int(mask.sum()), experiment.config.label.batch_size
        network, _ = checkpoint.load_exported(experiment.exported, experiment.config.model.name)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        loader = FrameLoader(frames, frames.by_shard(mask), experiment.config.inputs, [], size=experiment.size)
        self.tasks = loader.tasks
        count = min(READY * self.size, self.frames)
        places = [Position(0, place, 0, place) for place in range(count)]
        batches = [places[start : start + self.size] for start in range(0, count, self.size)]
        ready = [batch for of in batches for batch in load_batches(loader, Collate(loader.tasks), of)]
        inputs = experiment.config.inputs
        self.ready = [batch.to(torch.device(device)).inputs(inputs, torch.channels_last) for batch in ready]

    @torch.no_grad()
    def __call__(self) -> None:
        flip = self.experiment.config.label.flip
        for number, start in enumerate(range(0, self.frames, self.size)):
            inputs = self.ready[number % len(self.ready)]
            inputs = {name: x[: self.frames - start] for name, x in inputs.items()}
            outputs_of(lambda x: self.network(x).final, inputs, self.experiment.targets, self.tasks, flip=flip)
        if torch.cuda.is_available():
            torch.cuda.synchronize()


if __name__ == "__main__":
    main()
