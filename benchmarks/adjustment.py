"""Logit adjustment after training: metrics of finished runs with logits adjusted by class frequency.

    python -m benchmarks.adjustment RUN_FOLDER ... [--strengths 0,0.25,0.5,0.75,1]

τ·log π is subtracted from each network's logits, where π is the mean of its own predicted probabilities over the frames
it is measured on (labels are not used), as in Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021), eq.
9. To train with the adjustment instead: ``loss.logit_adjustment``.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.outputs import outputs_on
from trainer.experiment import Experiment
from trainer.kinds import learning
from trainer.metrics import Metrics


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path)
    arguments.add_argument("--strengths", default="0,0.25,0.5,0.75,1")
    options = arguments.parse_args()
    print("| run | τ | mIoU | pixel accuracy | mean accuracy |")
    print("|---|---|---|---|---|")
    for run in options.runs:
        experiment = Experiment.of_run(run)
        task = next(task for task in experiment.targets if task.storage.distribution)
        frames = experiment.evaluation_frames
        outputs = list(outputs_on(experiment, task, frames, frames.with_inputs(experiment.config.inputs)))
        prior = torch.cat([output.softmax(1).mean((2, 3)) for output, _ in outputs]).mean(0)
        for strength in map(float, options.strengths.split(",")):
            metrics = Metrics([task])
            offset = strength * prior.log()[:, None, None]
            for output, truth in outputs:
                metrics.update({task.name: learning(task).decide(output - offset)}, {task.name: truth})
            scores = metrics.compute()[task.name]
            values = (scores[name] for name in ("miou", "pixel_accuracy", "mean_accuracy"))
            labels, name = experiment.config.labels.get(task.name), experiment.config.experiment
            cells = " | ".join(f"{100 * value:.2f}" for value in values)
            print(f"| {name}, {labels} labels | {strength:g} | {cells} |")


if __name__ == "__main__":
    main()
