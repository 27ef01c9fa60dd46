"""What a number of ranks sees and computes: a script that ``trainer/test_ranks.py`` launches, and calls for one rank.

    rank_checks.py CONFIG FOLDER CHECKS [key=value ...]

``CHECKS`` is JSON: ``{"order": [[workers, accumulation], ...], "gradients": [accumulation, ...], "evaluate":
[batch, ...], "at label": [batch, ...]}``. The first rank writes ``FOLDER/seen.json`` and the gradients beside it. All
in one process, since to start a rank takes longer than the checks do.
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
from trainer import evaluate
from trainer.data import Batch
from trainer.experiment import Experiment
from trainer.losses import MultiTaskLoss, label_counts
from trainer.metrics import Metrics
from trainer.model.network import build
from trainer.model.norm import train_mode
from trainer.optim import make_optimizer
from trainer.runtime import accelerator
from trainer.trainingdata import TrainingData
from trainer.trainstage import trainer_of

AT_LABEL = ("data.size=32x32", "evaluate.resolution=label", "evaluate.range.depth=[2, 4]", "evaluate.crop=eigen")
STEPS = 5
STEP = 17
"""The one whose gradients are compared: however 2 or 3 ranks share its 12 frames, some rank sees no semseg."""


def check(config: Path, folder: Path, checks: dict[str, Any], *overrides: str) -> None:
    """Do the checks on this rank and all others."""
    folder.mkdir(parents=True, exist_ok=True)
    process = accelerator("fp32")

    def experiment(*more: str) -> Experiment:
        return Experiment(config, [*overrides, f"run.root={folder / 'runs'}", *more])

    seen: dict[str, Any] = {"order": {}, "gradients": {}, "evaluate": {}}
    for workers, accumulation in checks.get("order", ()):
        made = experiment(f"data.num_workers={workers}", f"train.gradient_accumulation_steps={accumulation}")
        seen["order"][f"{workers} workers, accumulation {accumulation}"] = order(made, process)
    for accumulation in checks.get("gradients", ()):
        made = experiment("model.norm=frozen", f"train.gradient_accumulation_steps={accumulation}")
        seen["gradients"][str(accumulation)] = gradients(made, process, folder)
    for batch in checks.get("evaluate", ()):
        seen["evaluate"][str(batch)] = sums(experiment(f"evaluate.batch_size={batch}"), process)
    for batch in checks.get("at label", ()):
        made = experiment(f"evaluate.batch_size={batch}", *AT_LABEL)
        seen["evaluate"][f"{batch} at label"] = sums(made, process)
    if process.is_main_process:
        (folder / "seen.json").write_text(json.dumps(seen))


def order(experiment: Experiment, process: Accelerator) -> list[list[tuple[str, str]]]:
    """Key and hash of all tensors of every sample, by step, in the order of the global batch."""
    micro = [
        [(key, sample_hash(batch, row)) for row, key in enumerate(batch.keys)]
        for batch in micro_batches(experiment, process, 0, STEPS)
    ]
    of_ranks = gather_object([micro])
    samples = [sample for parts in zip(*of_ranks, strict=True) for part in parts for sample in part]
    size = experiment.config.train.global_batch_size
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def micro_batches(experiment: Experiment, process: Accelerator, start: int, stop: int) -> Iterator[Batch]:
    """This rank's micro-batches of some steps."""
    config = experiment.config
    size, parts = config.train.global_batch_size, config.train.gradient_accumulation_steps
    batches = Batches(size, parts, process.process_index, process.num_processes)
    return TrainingData.of(config, experiment.training_frames()).batches(batches, start, stop)


def sample_hash(batch: Batch, row: int) -> str:
    digest = hashlib.sha256(batch.rgb[row].numpy().tobytes())
    for name, label in batch.labels.items():
        digest.update(name.encode() + label[row].numpy().tobytes())
    return digest.hexdigest()


def gradients(experiment: Experiment, process: Accelerator, folder: Path) -> dict[str, Any]:
    """Save the gradient that the trainer's own step takes, and what averaging means over ranks would give.

    Returns:
        The labelled pixels of each task in each micro-batch of each rank, and each rank's hash of its gradient.
    """
    micro = list(micro_batches(experiment, process, STEP, STEP + 1))
    naive = mean_of_means(experiment, process, micro)
    trainer = trainer_of(experiment, process)
    trainer.updater.train_mode()
    taken: dict[str, Tensor] = {}
    with register_optimizer_step_pre_hook(lambda optimizer, *_: taken.update(gradient(optimizer.param_groups))):
        trainer.optimise(micro)
    if process.is_main_process:
        name = f"{process.num_processes}-{experiment.config.train.gradient_accumulation_steps}.safetensors"
        save_file(taken, folder / f"taken-{name}")
        save_file(naive, folder / f"naive-{name}")
    own = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in taken.values())).hexdigest()
    labelled = [label_counts(batch.labels, experiment.tasks).tolist() for batch in micro]
    return {"labelled": gather_object([labelled]), "hashes": gather_object([own])}


def gradient(groups: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Of the parameters of an optimizer, by their number."""
    parameters = enumerate(parameter for group in groups for parameter in group["params"])
    return {str(at): p.grad.clone(memory_format=torch.contiguous_format) for at, p in parameters if p.grad is not None}


def mean_of_means(experiment: Experiment, process: Accelerator, micro: list[Batch]) -> dict[str, Tensor]:
    """What a loop gets that lets each micro-batch divide by its own labels, and averages."""
    config, criterion = experiment.config, MultiTaskLoss(experiment.tasks)
    torch.manual_seed(config.seed)
    network = build(experiment.architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train_mode(network, config.model.norm)
    for batch in micro:
        predictions = network(batch.inputs(config.inputs, torch.channels_last))
        (criterion(predictions, batch.labels, criterion.counts(batch.labels)) / len(micro)).backward()
    own = gradient(make_optimizer(network, config.train).param_groups)
    return {name: process.reduce(tensor, "mean") for name, tensor in own.items()}


def sums(experiment: Experiment, process: Accelerator) -> list[int]:
    """All the integers that the metrics of an evaluation follow from."""
    torch.manual_seed(0)
    network = build(experiment.architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with merged() as states:
        evaluate.evaluate_network(experiment, network, process, show=False)
    (state,) = states
    return state.tolist()


@contextmanager
def merged() -> Iterator[list[Tensor]]:
    """The states that are merged meanwhile."""
    states: list[Tensor] = []
    real = Metrics.merge
    Metrics.merge = lambda self, state: states.append(state) or real(self, state)  # type: ignore[func-returns-value,method-assign]
    try:
        yield states
    finally:
        Metrics.merge = real  # type: ignore[method-assign]


if __name__ == "__main__":
    torch.set_num_threads(1)
    check(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]), *sys.argv[4:])
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        os._exit(0)  # what a backend's threads meet at Python's end is not what is tested
