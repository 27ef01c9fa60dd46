"""Overhead of a labelling pass over its network's forward passes: frames per second of both, in turn.

    python -m benchmarks.labelling CONFIG [key=value ...] [--rounds N]

CONFIG is a trained teacher. A pass reads, decodes, computes, decides, encodes and writes, as ``tutelage label`` does
once it has loaded the network, into a folder that is deleted afterwards; the bare forward passes run on the same number
of frames, in preloaded batches of the same size. The first round is a warm-up and is not counted.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch

from shards.dataset import ShardDataset
from trainer.averaging import outputs_of
from trainer.batch import Collate
from trainer.data import FrameLoader, load_batches
from trainer.experiment import Experiment
from trainer.pseudolabels.labelling import label
from trainer.pseudolabels.plan import LabelPlan
from trainer.runs import checkpoint

READY = 4
"""Number of preloaded batches, over which the bare forward passes cycle."""


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
        bare = BareForward(experiment)
        ratios, rates = [], []
        for number in range(options.rounds + 1):
            shutil.rmtree(experiment.labels, ignore_errors=True)
            start = time.perf_counter()
            bare.label()
            labelled_at = time.perf_counter()
            bare()
            label_seconds, forward_seconds = labelled_at - start, time.perf_counter() - labelled_at
            if number:
                ratios.append(forward_seconds / label_seconds)
                rates.append((bare.frames / label_seconds, bare.frames / forward_seconds))
    label_rate, forward_rate = (statistics.median(values) for values in zip(*rates, strict=True))
    low, high = min(ratios), max(ratios)
    print(f"{torch.get_num_threads()} threads, {bare.frames} frames, batches of {bare.size}, {options.rounds} rounds")
    print(f"label {label_rate:.1f} frames/s, bare forward passes {forward_rate:.1f} frames/s (medians)")
    print(f"ratio {statistics.median(ratios):.3f}, median of the rounds ({low:.3f} to {high:.3f})")


class BareForward:
    """The forward passes of a labelling pass, on preloaded inputs."""

    def __init__(self, experiment: Experiment) -> None:
        frames, mask = experiment.frames_to_label()
        self.experiment, self.frames, self.size = experiment, int(mask.sum()), experiment.config.label.batch_size
        network, self.facts = checkpoint.load_exported(experiment.exported, experiment.config.model.name)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        samples = ShardDataset.of(frames.restrict(mask)).with_inputs(experiment.config.inputs, size=experiment.size)
        self.tasks = samples.tasks
        loader, collate = FrameLoader(samples), Collate(samples.tasks)
        indices = range(min(READY * self.size, len(samples)))
        starts = range(0, len(indices), self.size)
        ready = [batch for i in starts for batch in load_batches(loader, collate, indices[i : i + self.size])]
        inputs = experiment.config.inputs
        self.ready = [batch.to(torch.device(device)).inputs(inputs, torch.channels_last) for batch in ready]

    def label(self) -> None:
        """Label all frames with the same network."""
        plan, config = LabelPlan(self.experiment), self.experiment.config
        label(
            self.network,
            ShardDataset.of(plan.frames),
            self.experiment.labels,
            frames=config.label.frames,
            inputs=config.inputs,
            teacher=plan.teacher(self.facts),
            **plan.options,
        )

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
