"""Validation: the metrics of a network (contract 3), identical on any number of ranks."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator

from shards.arguments import check_count, check_kind, check_size
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.order import Order
from shards.prefetch import Prefetch, readers_of
from shards.tasks import Task
from trainer.batch import Collate
from trainer.components import inputs_and_tasks
from trainer.data import FrameLoader
from trainer.engine.base import ready_to_infer
from trainer.measuredbatch import MeasuredBatch, make_loader
from trainer.measurement import DEFAULT, Measurement
from trainer.metrics import Metrics
from trainer.model.checked import check_tasks, predictions_of
from trainer.overlap import map_ahead, threads_per_rank
from trainer.progress import progress
from trainer.runtime import inference_accelerator


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    data: ShardDataset,
    *,
    inputs: Sequence[str] | None = None,
    tasks: Sequence[Task] | None = None,
    size: tuple[int, int] | None = None,
    measurement: Measurement = DEFAULT,
    batch_size: int = 8,
    accelerator: Accelerator | None = None,
    title: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return a network's metrics by task, pooled over pixels and over all ranks, each of which evaluates a part.

    The network computes in fp32 and in evaluation mode, like an exported network, on the device of the accelerator;
    it is left there, in the mode that it had. All ranks must call this function, with whole weights: for a network
    that its engine shards, pass :meth:`trainer.trainer.Trainer.whole`.

    Args:
        model: its forward is described at :func:`trainer.model.create.create_model`.
        data: the samples; those that lack an input are left out.
        inputs: names of the network's inputs; by default those of its ``architecture``.
        tasks: the predicted tasks; by default those of its ``architecture``.
        size: height and width that samples are resized to, that of the training data; None for those of ``data``.
        measurement: the size, range and window of the measurement.
        batch_size: samples of a forward pass on each rank.
        accelerator: accelerate's view of this rank; None creates one for this launch.
        title: title of a progress bar; None shows none.

    Returns:
        Metrics by task and name, as in ``result.json``.

    Raises:
        UserError: when no sample has the inputs, a sample cannot be read, or an argument is of another kind.
    """
    inputs, tasks = inputs_and_tasks(model, data, inputs, tasks)
    check_count("batch_size", batch_size)
    check_size("size", size)
    check_kind("measurement", measurement, Measurement)
    measurement.check(tasks)
    check_tasks(tasks, data.manifest.tasks, data.manifest.path)
    own_labels = ShardDataset.of(data.frames.without_pseudo(), size=data.size)
    samples = own_labels.with_inputs(inputs, [task.name for task in tasks], size or data.size or data.manifest.size)
    if not len(samples):
        hint = "give frames that carry the inputs"
        raise UserError("no frame to evaluate on", file=data.manifest.path, key=data.split, hint=hint)
    with inference_accelerator(accelerator) as accelerator, ready_to_infer(model, accelerator.device) as network:
        metrics = Metrics(tasks, accelerator.device)
        load_samples = make_loader(FrameLoader(samples), Collate(samples.tasks), measurement.resolution)
        order = Order(samples.counts, 0, window=1, shuffle=False)
        rank, ranks = accelerator.process_index, accelerator.num_processes
        batch_numbers = range(rank, math.ceil(len(samples) / batch_size), ranks)

        def load(number: int) -> list[MeasuredBatch]:
            first = number * batch_size
            return load_samples(range(first, min(first + batch_size, len(samples))))

        show = title is not None and accelerator.is_main_process
        with (
            Prefetch(readers_of(samples.frames)) as ahead,
            progress(title or "", len(batch_numbers), show=show) as report,
        ):
            ahead.advance(order, 0, 0, (1, 0))
            threads = threads_per_rank()
            batches = map_ahead(load, batch_numbers, threads, threads + 2)
            for number, loaded in zip(batch_numbers, batches, strict=True):
                ahead.advance(order, 0, number * batch_size, (1, 0))
                for batch, truths in loaded:
                    tensors = batch.to(accelerator.device).inputs(inputs, torch.channels_last)
                    final = predictions_of(network, tensors, tasks).final
                    labels, targets = {}, {}
                    for task in tasks:
                        truth = truths[task.name].to(accelerator.device)
                        labels[task.name], targets[task.name] = measurement(task, final[task.name], truth)
                    metrics.update(labels, targets, final)
                report(1)
        total = accelerator.reduce(metrics.state(), "sum")
        return Metrics(tasks, accelerator.device).merge(total).compute()
