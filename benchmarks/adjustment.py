"""What the frequencies of classes cost: metrics of finished runs when logits are adjusted before a class is chosen.

    python -m benchmarks.adjustment RUN_FOLDER ... [--strengths 0,0.25,0.5,0.75,1]

Of each network's logits τ·log π is taken off, π being the mean of its own predicted probabilities over the frames it
is measured on (no label is looked at), as in Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021), eq.
9. To train with the adjustment instead: ``loss.logit_adjustment``.
"""

import argparse
from pathlib import Path

import torch

from shards.stream import InOrder
from trainer.data import Collate, FrameLoader, load_batches
from trainer.experiment import Experiment
from trainer.kinds import learning
from trainer.metrics import Metrics
from trainer.runs import checkpoint


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path)
    arguments.add_argument("--strengths", default="0,0.25,0.5,0.75,1")
    options = arguments.parse_args()
    print("| run | τ | mIoU | pixel accuracy | mean accuracy |")
    print("|---|---|---|---|---|")
    for run in options.runs:
        experiment = Experiment.of_run(run)
        outputs, truths = said_of_frames(experiment)
        prior = torch.cat([output.softmax(1).mean((2, 3)) for output in outputs]).mean(0)
        task = next(task for task in experiment.targets if task.storage.distribution)
        for strength in map(float, options.strengths.split(",")):
            metrics = Metrics([task])
            offset = strength * prior.log()[:, None, None]
            for output, truth in zip(outputs, truths, strict=True):
                metrics.update({task.name: learning(task).decide(output - offset)}, {task.name: truth})
            found = metrics.compute()[task.name]
            values = (found[name] for name in ("miou", "pixel_accuracy", "mean_accuracy"))
            labels, name = experiment.config.labels.get(task.name), experiment.config.experiment
            shown = " | ".join(f"{100 * value:.2f}" for value in values)
            print(f"| {name}, {labels} labels | {strength:g} | {shown} |")


@torch.no_grad()
def said_of_frames(experiment: Experiment) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs and truths of the frames that the run is measured on, in batches."""
    network, _ = checkpoint.load_exported(experiment.checkpoints / experiment.config.evaluate.checkpoint)
    network.eval()
    task = next(task for task in experiment.targets if task.storage.distribution)
    frames, config = experiment.evaluation_frames(), experiment.config
    chosen = frames.by_shard(frames.with_inputs(config.inputs))
    loader = FrameLoader(frames, chosen, config.inputs, config.tasks, size=experiment.size)
    collate, every = Collate(loader.tasks), InOrder([len(of) for of in chosen])
    outputs, truths = [], []
    for first in range(0, len(every), config.evaluate.batch):
        places = [every[place] for place in range(first, min(first + config.evaluate.batch, len(every)))]
        for batch in load_batches(loader, collate, places):
            outputs.append(network(batch.inputs(config.inputs, torch.channels_last)).final[task.name])
            truths.append(batch.labels[task.name])
    return outputs, truths


if __name__ == "__main__":
    main()
