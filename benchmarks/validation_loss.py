"""The training loss of finished runs on their validation frames, which shows smaller differences than mIoU does.

    python -m benchmarks.validation_loss RUN_FOLDER ...

A rare class has the same weight in mIoU as a frequent one; in the cross-entropy every pixel has the same weight.
Prints for every run the mean loss of each task over all labelled pixels of the frames of ``evaluate.split``, of the
final predictions.
"""

import argparse
from pathlib import Path

import torch

from shards.stream import InOrder
from trainer.data import Collate, FrameLoader, load_batches
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
    frames = experiment.evaluation_frames()
    chosen = frames.by_shard(frames.with_inputs(config.inputs))
    loader = FrameLoader(frames, chosen, config.inputs, config.tasks, size=experiment.size)
    collate = Collate(loader.tasks)
    order = InOrder([len(positions) for positions in chosen])
    sums, counts = torch.zeros(len(tasks), dtype=torch.float64), torch.zeros(len(tasks), dtype=torch.int64)
    for start in range(0, len(order), config.evaluate.batch_size):
        places = range(start, min(start + config.evaluate.batch_size, len(order)))
        for batch in load_batches(loader, collate, map(order.__getitem__, places)):
            predictions = network(batch.inputs(config.inputs, torch.channels_last))
            sums += loss_sums(predictions.final, batch.labels, tasks).double()
            counts += label_counts(batch.labels, tasks)
    return {task.name: float(total / count) for task, total, count in zip(tasks, sums, counts, strict=True)}


if __name__ == "__main__":
    main()
