"""Validation: contract 3's metrics of a network, the same number on any number of ranks."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from accelerate import Accelerator

from shards.atomic import read_json, write_json
from shards.errors import UserError
from shards.kinds import smaller_is_better
from shards.stream import InOrder
from trainer.configvalues import parse_size
from trainer.data import Collate, FrameLoader
from trainer.decision import resized
from trainer.experiment import Experiment
from trainer.kinds import learning
from trainer.measurement import MeasuredBatch, Measurement, loading
from trainer.metrics import Metrics
from trainer.overlap import map_ahead, threads_per_rank
from trainer.progress import progress
from trainer.runs import checkpoint
from trainer.runs.folder import assignment, claim, environment, pretrained
from trainer.runs.status import already_finished, new_launch, recorded
from trainer.runtime import accelerator, broadcast, losing_ranks

_RESULT = "result.json"
_THREADS = threads_per_rank()


def evaluate(experiment: Experiment) -> dict[str, Any]:
    """Evaluate an experiment's exported networks and write ``result.json``, unless it stands there already.

    Returns:
        The row of ``result.json``.

    Raises:
        UserError: when there is no exported network, one of another configuration, or no frame to evaluate on.
    """
    found, hashes = _exported(experiment)
    chosen = experiment.config.evaluate.checkpoint
    if chosen not in hashes:
        hint = "train it (`tutelage train CONFIG`)" + ("" if chosen == "last" else " with evaluate.every set")
        raise UserError(f"there is no {chosen} checkpoint", file=experiment.checkpoints, hint=hint)
    claim(experiment)
    process = accelerator(experiment.config.train.precision, experiment.config.train.timeout)
    result: dict[str, Any] | None = broadcast(process, evaluated(experiment))
    if result is not None:
        already_finished(experiment.folder, "evaluate")
        return result
    with recorded(experiment.folder, "evaluate", broadcast(process, new_launch())), losing_ranks():
        metrics = {}
        for name in hashes:
            network, _ = checkpoint.load_exported(experiment.checkpoints / name)
            network.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            metrics[name] = evaluate_network(experiment, network, process)
        result = _row(experiment, found, metrics, _asked(experiment, hashes))
        if process.is_main_process:
            write_json(experiment.folder / _RESULT, result)
        process.wait_for_everyone()
    return result


def evaluated(experiment: Experiment) -> dict[str, Any] | None:
    """The row of ``result.json``, if it stands there and is about the networks as they are now."""
    path, asked = experiment.folder / _RESULT, _asked(experiment, _exported(experiment)[1])
    result = read_json(path, "delete it") if path.exists() else {}
    return result if result.get("asked") == asked else None


def _exported(experiment: Experiment) -> tuple[dict[str, Any], dict[str, str]]:
    """What is known of the last and the best network, and the hashes of those that are there."""
    found = {name: checkpoint.exported(experiment.checkpoints / name) for name in ("last", "best")}
    return found, {name: facts["sha256"] for name, facts in found.items() if facts}


@torch.no_grad()
def evaluate_network(
    experiment: Experiment, network: torch.nn.Module, process: Accelerator, *, show: bool = True
) -> dict[str, dict[str, Any]]:
    """A network's metrics by task on the frames of ``evaluate.split``, pooled over all ranks, as
    :class:`trainer.measurement.Measurement` says, in the precision of the network's forward: fp32, of an exported
    network as of :meth:`trainer.engine.base.Engine.replica`."""
    config = experiment.config
    network.eval()
    metrics = Metrics(experiment.tasks, process.device)
    frames = experiment.evaluation_frames()
    mask = frames.with_inputs(config.inputs)
    if not mask.any():
        hint = "give validation frames that carry the inputs"
        raise UserError("no frame to evaluate on", file=frames.manifest.path, key=config.evaluate.split, hint=hint)
    chosen = frames.by_shard(mask)
    loader = FrameLoader(frames, chosen, config.inputs, config.tasks, size=experiment.size)
    collate = Collate(loader.tasks)
    measurement = Measurement.of(experiment)
    load_frames = loading(loader, collate, measurement.resolution)
    every = InOrder([len(of) for of in chosen])
    ranks, rank = process.num_processes, process.process_index
    own = range(rank, math.ceil(len(every) / config.evaluate.batch_size), ranks)

    def load(number: int) -> list[MeasuredBatch]:
        first = number * config.evaluate.batch_size
        return load_frames(
            [every[place] for place in range(first, min(first + config.evaluate.batch_size, len(every)))]
        )

    title = f"{config.experiment}: evaluate"
    with progress(title, len(own), show=show and process.is_main_process) as report:
        for loaded in map_ahead(load, own, _THREADS, _THREADS + 2):
            for batch, truths in loaded:
                final = network(batch.to(process.device).inputs(config.inputs, torch.channels_last)).final
                labels, targets, outputs = {}, {}, {}
                for task in experiment.tasks:
                    truth = truths[task.name].to(process.device)
                    labels[task.name], targets[task.name] = measurement(task, final[task.name], truth)
                    if learning(task).ranked:
                        outputs[task.name] = torch.cat(
                            [*resized(final[task.name], (truth.shape[-2], truth.shape[-1]))], 2
                        )
                metrics.update(labels, targets, outputs)
            report(1)
    total = process.reduce(metrics.state(), "sum")
    return Metrics(experiment.tasks, process.device).merge(total).compute()


def headline(metrics: dict[str, Any], name: str, best: float | None) -> tuple[float, bool]:
    """The value of ``TASK.METRIC``, and whether it is better than the best so far.

    Raises:
        UserError: when the tasks have no such metric.
    """
    value = _scalars(metrics).get(name)
    if value is None:
        raise _not_measured(name, [other for other, value in _scalars(metrics).items() if value is not None])
    if best is None:
        return value, True
    return value, value < best if smaller_is_better(name.partition(".")[2]) else value > best


def check_best(experiment: Experiment) -> None:
    """Make sure that ``evaluate.best`` is a metric of one of the tasks, if it is asked for, and that ``evaluate.range``
    names scalar tasks.

    Raises:
        UserError: when it is none, or names others.
    """
    Measurement.of(experiment)
    known = _scalars(Metrics(experiment.tasks).compute())
    if experiment.config.evaluate.every and experiment.config.evaluate.best not in known:
        raise _not_measured(experiment.config.evaluate.best, list(known))


def _scalars(metrics: dict[str, Any]) -> dict[str, float | None]:
    """What a network can be best in, by ``TASK.METRIC``."""
    every = {f"{task}.{name}": value for task, of in metrics.items() for name, value in of.items() if name != "pixels"}
    return {name: value for name, value in every.items() if not isinstance(value, list)}


def _not_measured(name: str, known: list[str]) -> UserError:
    hint = f"use one of {', '.join(known)}"
    return UserError(f"{name!r} is not measured", key="evaluate.best", hint=hint)


def _asked(experiment: Experiment, hashes: dict[str, str]) -> dict[str, Any]:
    """What a result follows from: another of any of these is evaluated again."""
    config = experiment.config
    return {
        "checkpoints": hashes,
        "manifest": experiment.manifest.sha256,
        "checkpoint": config.evaluate.checkpoint,
        **experiment.measured_on,
        **Measurement.of(experiment).to_json(),
    }


def _row(
    experiment: Experiment, found: dict[str, Any], metrics: dict[str, Any], asked: dict[str, Any]
) -> dict[str, Any]:
    config = experiment.config
    frames = experiment.training_frames()
    mask = frames.to_train(config.inputs, config.tasks)
    facts = found[config.evaluate.checkpoint]
    names = list(
        dict.fromkeys([*(t.name for t in experiment.manifest.tasks if t.name in config.inputs), *config.tasks])
    )
    return {
        "experiment": config.experiment,
        "dataset": config.data.name,
        "seed": config.seed,
        "inputs": list(config.inputs),
        "tasks": list(config.tasks),
        "budget": dict(config.labels),
        "assignment": assignment(experiment),
        "frames": int(mask.sum()),
        "labels": frames.counts(mask, names),
        "pseudo_labels": {task: int((of & mask).sum()) for task, of in frames.pseudo.items()},
        "normalise": config.loss.normalise,
        "backbone": config.model.backbone,
        "pretrained": pretrained(experiment),
        "size": experiment.size,
        "crop": parse_size(config.data.crop, "data.crop"),
        "steps": facts["step"],
        "samples_seen": facts["step"] * config.train.global_batch_size,
        "validation_frames": int(experiment.evaluation_frames().chosen.sum()),
        "metrics": metrics[config.evaluate.checkpoint],
        "checkpoints": metrics,
        "command": experiment.command,
        "environment": environment(),
        "asked": asked,
    }


def describe(metrics: dict[str, Any]) -> Iterator[str]:
    """Lines that say a network's metrics."""
    for task, of in metrics.items():
        scalars = ", ".join(f"{name} {value:.4g}" for name, value in of.items() if isinstance(value, int | float))
        yield f"{task}: {scalars}"
