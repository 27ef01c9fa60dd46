"""Validation: contract 3's metrics of a network, the same number on any number of ranks."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.frames import Frames
from shards.prefetch import Prefetch, sources_of
from shards.stream import InOrder
from shards.tasks import Task
from trainer.batch import Collate
from trainer.data import FrameLoader
from trainer.decision import resized
from trainer.engine.base import as_built
from trainer.kinds import learning
from trainer.measurement import DEFAULT, MeasuredBatch, Measurement, loading
from trainer.metrics import Metrics
from trainer.model.checked import check_tasks, predictions_of
from trainer.overlap import map_ahead, threads_per_rank
from trainer.progress import progress
from trainer.runtime import accelerator

_THREADS = threads_per_rank()


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    data: ShardDataset | Frames,
    *,
    inputs: Sequence[str] | None = None,
    tasks: Sequence[Task] | None = None,
    size: tuple[int, int] | None = None,
    measurement: Measurement = DEFAULT,
    batch_size: int = 8,
    process: Accelerator | None = None,
    title: str | None = None,
) -> dict[str, dict[str, Any]]:
    """A network's metrics by task, pooled over pixels and over all ranks, each of which evaluates a part.

    The network computes in fp32, as an exported one does, on the device of the process, where it is left in evaluation
    mode. All ranks must call this, with whole weights: of a network that its engine holds in parts, give
    :meth:`trainer.trainer.Trainer.whole`.

    Args:
        model: forward as :func:`trainer.model.create.create_model` describes it.
        data: the samples; those that lack an input are left out.
        inputs: what the network sees; by default what its ``architecture`` says.
        tasks: what it predicts; by default likewise.
        size: height and width that samples are resized to; None for those of the data set.
        measurement: at which size, within which range and window.
        batch_size: samples of a forward pass on each rank.
        process: this rank among the others; None makes one for this launch.
        title: of a progress bar; None shows none.

    Returns:
        Metrics by task and name, as ``result.json`` has them.

    Raises:
        UserError: when no sample has the inputs, or a sample's.
    """
    described: Any = model
    inputs = described.architecture.inputs if inputs is None else inputs
    tasks = described.architecture.tasks if tasks is None else tasks
    process = process or accelerator("fp32")
    if isinstance(data, ShardDataset):
        size = size or data.size
        data = data.frames
    check_tasks(tasks, data.manifest.tasks, data.manifest.path)
    mask = data.with_inputs(inputs)
    if not mask.any():
        hint = "give frames that carry the inputs"
        raise UserError("no frame to evaluate on", file=data.manifest.path, key=data.split, hint=hint)
    chosen = data.by_shard(mask)
    network = as_built(model.eval())
    if next(network.parameters()).device.type != process.device.type:  # moved to "cpu:0", buffers would be copied
        network.to(process.device)
    metrics = Metrics(tasks, process.device)
    loader = FrameLoader(data, chosen, inputs, [task.name for task in tasks], size=size or data.manifest.size)
    load_frames = loading(loader, Collate(loader.tasks), measurement.resolution)
    every = InOrder([len(of) for of in chosen])
    own = range(process.process_index, math.ceil(len(every) / batch_size), process.num_processes)

    def load(number: int) -> list[MeasuredBatch]:
        first = number * batch_size
        return load_frames([every[place] for place in range(first, min(first + batch_size, len(every)))])

    show = title is not None and process.is_main_process
    with Prefetch(sources_of(data)) as ahead, progress(title or "", len(own), show=show) as report:
        ahead.at(every.order, 0, 0, (1, 0))
        for number, loaded in zip(own, map_ahead(load, own, _THREADS, _THREADS + 2), strict=True):
            ahead.at(every.order, 0, number * batch_size, (1, 0))
            for batch, truths in loaded:
                seen = batch.to(process.device).inputs(inputs, torch.channels_last)
                final = predictions_of(network, seen, tasks).final
                labels, targets, outputs = {}, {}, {}
                for task in tasks:
                    truth = truths[task.name].to(process.device)
                    labels[task.name], targets[task.name] = measurement(task, final[task.name], truth)
                    if learning(task).ranked:
                        outputs[task.name] = torch.cat([*resized(final[task.name], tuple(truth.shape[-2:]))], 2)  # type: ignore[arg-type]
                metrics.update(labels, targets, outputs)
            report(1)
    total = process.reduce(metrics.state(), "sum")
    return Metrics(tasks, process.device).merge(total).compute()
