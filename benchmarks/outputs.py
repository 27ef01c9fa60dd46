"""What a finished run's network says of frames, for benchmarks that look at its probabilities."""

from collections.abc import Iterator

import numpy as np
import torch

from shards.frames import Frames
from shards.stream import InOrder
from shards.tasks import Task
from trainer.averaging import outputs_of
from trainer.data import Collate, FrameLoader, load_batches
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
    """Output ``(1, C, H, W)`` and truth of each frame of a mask, one at a time.

    Args:
        flip: whether the mirrored frame is averaged in, as a teacher labels with ``label.flip``.
        count: of the first frames; None for all.
    """
    config = experiment.config
    network, _ = checkpoint.load_exported(experiment.exported, config.model.name)
    network.eval()
    chosen = frames.by_shard(mask)
    loader = FrameLoader(frames, chosen, config.inputs, [task.name], size=experiment.size)
    collate, every = Collate(loader.tasks), InOrder([len(of) for of in chosen])
    inputs = [known for known in loader.tasks if known.name in config.inputs]
    for place in range(len(every) if count is None else min(count, len(every))):
        for batch in load_batches(loader, collate, [every[place]]):
            seen = batch.inputs(config.inputs, torch.channels_last)
            outputs, _ = outputs_of(lambda x: network(x).final, seen, [task], inputs, flip=flip)
            yield outputs[task.name], batch.labels[task.name]
