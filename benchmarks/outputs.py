"""Outputs of a finished run's network, for benchmarks of its probabilities."""

from collections.abc import Iterator

import numpy as np
import torch

from shards.dataset import ShardDataset
from shards.frames import Frames
from shards.tasks import Task
from trainer.averaging import outputs_of
from trainer.batch import Collate
from trainer.data import FrameLoader, load_batches
from trainer.experiment import Experiment
from trainer.runs import checkpoint


@torch.inference_mode()
def outputs_on(
    experiment: Experiment,
    task: Task,
    frames: Frames,
    mask: np.ndarray,
    *,
    flip: bool = False,
    count: int | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield output ``(1, C, H, W)`` and truth of each frame of a mask, one at a time.

    Args:
        flip: whether the mirrored frame is averaged in, as a teacher labels with ``label.flip``.
        count: number of first frames; None for all.
    """
    config = experiment.config
    network, _ = checkpoint.load_exported(experiment.exported, config.model.name)
    network.eval()
    samples = ShardDataset.of(frames.restrict(mask)).with_inputs(config.inputs, [task.name], experiment.size)
    loader, collate = FrameLoader(samples), Collate(samples.tasks)
    inputs = [other for other in samples.tasks if other.name in config.inputs]
    for index in range(len(samples) if count is None else min(count, len(samples))):
        for batch in load_batches(loader, collate, [index]):
            batch_inputs = batch.inputs(config.inputs, torch.channels_last)
            outputs, _ = outputs_of(lambda x: network(x).final, batch_inputs, [task], inputs, flip=flip)
            yield outputs[task.name], batch.labels[task.name]
