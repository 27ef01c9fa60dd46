"""The training loss of finished runs on their validation frames, which shows smaller differences than mIoU does.

    python -m benchmarks.validation_loss RUN_FOLDER ...

A rare class has the same weight in mIoU as a frequent one; in the cross-entropy every pixel has the same weight.
Prints for every run the mean loss of each task over all labelled pixels of the frames of ``evaluate.split``, of the
final predictions.
"""

import argparse
from pathlib import Path

import torch

from shards.dataset import ShardDataset
from trainer.batch import Collate
from trainer.data import FrameLoader, load_batches
from trainer.experiment import Experiment
from trainer.losses import label_counts, loss_sums
from trainer.runs import checkpoint


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("runs", nargs="+", type=Path)
    for folder in arguments.parse_args().runs:
        losses = validation_loss(Experiment.of_run(folder))
        print(folder, *(f"{task} {loss:.4f}" for task, loss in losses.items()))


@torch.inference_mode()
def validation_loss(experiment: Experiment) -> dict[str, float]:
    """Return the mean loss of each task, in nats for classes and in the task's unit for quantities."""
    config, tasks = experiment.config, experiment.tasks
    network, _ = checkpoint.load_exported(experiment.exported, config.model.name)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = ShardDataset.of(experiment.evaluation_frames)
    samples = data.with_inputs(config.inputs, config.tasks, experiment.size)
    loader, collate = FrameLoader(samples), Collate(samples.tasks)
    sums, counts = torch.zeros(len(tasks), dtype=torch.float64), torch.zeros(len(tasks), dtype=torch.int64)
    for start in range(0, len(samples), config.evaluate.batch_size):
        indices = range(start, min(start + config.evaluate.batch_size, len(samples)))
        for batch in load_batches(loader, collate, indices):
            predictions = network(batch.inputs(config.inputs, torch.channels_last))
            sums += loss_sums(predictions.final, batch.labels, tasks).double()
            counts += label_counts(batch.labels, tasks)
    return {task.name: float(total / count) for task, total, count in zip(tasks, sums, counts, strict=True)}


if __name__ == "__main__":
    main()
