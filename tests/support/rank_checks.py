"""What ranks read and compute: a script that ``trainer/test_ranks.py`` launches, and calls directly for one rank.

    rank_checks.py CONFIG FOLDER CHECKS [key=value ...]

``CHECKS`` is JSON: ``{"order": [[workers, accumulation], ...], "gradients": [accumulation, ...], "evaluate":
[batch, ...], "at label": [batch, ...]}``. The first rank writes ``FOLDER/seen.json`` and the gradients beside it. One
launch does all checks, because starting a rank takes longer than the checks.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from shards.stream import Batches
from trainer import evaluatestage
from trainer.data import Batch
from trainer.experiment import Experiment
from trainer.losses import MultiTaskLoss, label_counts
from trainer.metrics import Metrics
from trainer.model.network import build
from trainer.model.norm import train_mode
from trainer.optim import make_optimizer
from trainer.runtime import make_accelerator
from trainer.trainingdata import TrainingData
from trainer.trainstage import trainer_of

AT_LABEL = ("data.size=32x32", "evaluate.resolution=label", "evaluate.range.depth=[2, 4]", "evaluate.crop=eigen")
STEPS = 5
STEP = 17
"""The step whose gradients are compared: however 2 or 3 ranks share its 12 frames, some rank gets no semseg label."""


def check(config: Path, folder: Path, checks: dict[str, Any], *overrides: str) -> None:
    """Run the checks; every rank calls it."""
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator("fp32")

    def experiment(*more: str) -> Experiment:
        return Experiment(config, [*overrides, f"run.root={folder / 'runs'}", *more])

    results: dict[str, Any] = {"order": {}, "gradients": {}, "evaluate": {}}
    for workers, accumulation in checks.get("order", ()):
        variant = experiment(f"data.num_workers={workers}", f"train.gradient_accumulation_steps={accumulation}")
        results["order"][f"{workers} workers, accumulation {accumulation}"] = order(variant, accelerator)
    for accumulation in checks.get("gradients", ()):
        variant = experiment("model.norm=frozen", f"train.gradient_accumulation_steps={accumulation}")
        results["gradients"][str(accumulation)] = gradients(variant, accelerator, folder)
    for batch in checks.get("evaluate", ()):
        results["evaluate"][str(batch)] = sums(experiment(f"evaluate.batch_size={batch}"), accelerator)
    for batch in checks.get("at label", ()):
        variant = experiment(f"evaluate.batch_size={batch}", *AT_LABEL)
        results["evaluate"][f"{batch} at label"] = sums(variant, accelerator)
    if accelerator.is_main_process:
        (folder / "seen.json").write_text(json.dumps(results))


def order(experiment: Experiment, accelerator: Accelerator) -> list[list[tuple[str, str]]]:
    """Return key and hash of the tensors of every sample, by step, in the order of the global batch."""
    rank_samples = [
        [(key, sample_hash(batch, row)) for row, key in enumerate(batch.keys)]
        for batch in micro_batches(experiment, accelerator, 0, STEPS)
    ]
    samples_by_rank = gather_object([rank_samples])
    samples = [sample for parts in zip(*samples_by_rank, strict=True) for part in parts for sample in part]
    size = experiment.config.train.global_batch_size
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def micro_batches(experiment: Experiment, accelerator: Accelerator, start: int, stop: int) -> Iterator[Batch]:
    """Return this rank's micro-batches of the steps from start to stop."""
    config = experiment.config
    size, accumulation = config.train.global_batch_size, config.train.gradient_accumulation_steps
    batches = Batches(size, accumulation, accelerator.process_index, accelerator.num_processes)
    return TrainingData.of(config, experiment.training_frames()).batches(batches, start, stop)


def sample_hash(batch: Batch, row: int) -> str:
    digest = hashlib.sha256(batch.rgb[row].numpy().tobytes())
    for name, label in batch.labels.items():
        digest.update(name.encode() + label[row].numpy().tobytes())
    return digest.hexdigest()


def gradients(experiment: Experiment, accelerator: Accelerator, folder: Path) -> dict[str, Any]:
    """Save the gradient of the trainer's step, and the gradient that averaging the ranks' mean losses would give.

    Returns:
        The labelled pixels of each task in each micro-batch of each rank, and each rank's hash of its gradient.
    """
    batches = list(micro_batches(experiment, accelerator, STEP, STEP + 1))
    mean_gradient = mean_of_means(experiment, accelerator, batches)
    trainer = trainer_of(experiment, accelerator)
    trainer.updater.train_mode()
    step_gradient: dict[str, Tensor] = {}
    with register_optimizer_step_pre_hook(lambda optimizer, *_: step_gradient.update(gradient(optimizer.param_groups))):
        trainer.optimise(batches)
    if accelerator.is_main_process:
        name = f"{accelerator.num_processes}-{experiment.config.train.gradient_accumulation_steps}.safetensors"
        save_file(step_gradient, folder / f"taken-{name}")
        save_file(mean_gradient, folder / f"naive-{name}")
    gradient_hash = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in step_gradient.values())).hexdigest()
    label_pixels = [label_counts(batch.labels, experiment.tasks).tolist() for batch in batches]
    return {"labelled": gather_object([label_pixels]), "hashes": gather_object([gradient_hash])}


def gradient(groups: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return the gradients of an optimizer's parameters, by the parameter's number."""
    parameters = enumerate(parameter for group in groups for parameter in group["params"])
    return {
        str(number): parameter.grad.clone(memory_format=torch.contiguous_format)
        for number, parameter in parameters
        if parameter.grad is not None
    }


def mean_of_means(experiment: Experiment, accelerator: Accelerator, batches: list[Batch]) -> dict[str, Tensor]:
    """Return the gradient where each micro-batch divides by its own label count, averaged over ranks."""
    config, criterion = experiment.config, MultiTaskLoss(experiment.tasks)
    torch.manual_seed(config.seed)
    network = build(experiment.architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_mode(network, config.model.norm)
    for batch in batches:
        predictions = network(batch.inputs(config.inputs, torch.channels_last))
        (criterion(predictions, batch.labels, criterion.counts(batch.labels)) / len(batches)).backward()
    own_gradient = gradient(make_optimizer(network, config.train).param_groups)
    return {name: accelerator.reduce(tensor, "mean") for name, tensor in own_gradient.items()}


def sums(experiment: Experiment, accelerator: Accelerator) -> list[int]:
    """Return the integer sums from which the metrics of an evaluation are computed."""
    torch.manual_seed(0)
    network = build(experiment.architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with recorded_merges() as states:
        evaluatestage.evaluate_network(experiment, network, accelerator, show=False)
    (state,) = states
    return state.tolist()


@contextmanager
def recorded_merges() -> Iterator[list[Tensor]]:
    """Yield a list of the metric states that are merged within the block."""
    states: list[Tensor] = []
    original_merge = Metrics.merge
    Metrics.merge = lambda self, state: states.append(state) or original_merge(self, state)  # type: ignore[func-returns-value,method-assign]
    try:
        yield states
    finally:
        Metrics.merge = original_merge  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    check(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), *sys.argv[4:])
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        os._exit(0)  # skips Python's shutdown, in which threads of a backend may fail: that is not tested
