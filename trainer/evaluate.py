"""Evaluation as a stage: an experiment's exported networks measured, and ``result.json``."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from shards.atomic import write_json
from shards.errors import UserError
from trainer.evaluation import evaluate as evaluate_on
from trainer.experiment import Experiment
from trainer.parsing import parse_size
from trainer.runs import checkpoint
from trainer.runs.folder import assignment, claim, environment, pretrained
from trainer.runs.result import NAME, Asked, Metrics, Result
from trainer.runs.status import already_finished, new_launch, recorded
from trainer.runtime import accelerator, broadcast, losing_ranks


def evaluate(experiment: Experiment) -> Result:
    """Evaluate an experiment's exported networks and write ``result.json``, unless it stands there already.

    Returns:
        What the file holds.

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
    result: Result | None = broadcast(process, evaluated(experiment))
    if result is not None:
        already_finished(experiment.folder, "evaluate")
        return result
    with recorded(experiment.folder, "evaluate", broadcast(process, new_launch())), losing_ranks():
        metrics = {}
        for name in hashes:
            network, _ = checkpoint.load_exported(experiment.checkpoints / name, experiment.config.model.name)
            network.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            metrics[name] = evaluate_network(experiment, network, process)
        result = _result(experiment, found, metrics, _asked(experiment, hashes))
        if process.is_main_process:
            write_json(experiment.folder / NAME, result.to_json())
        process.wait_for_everyone()
    return result


def evaluated(experiment: Experiment) -> Result | None:
    """What ``result.json`` holds, if it stands there and is about the networks as they are now."""
    path, asked = experiment.folder / NAME, _asked(experiment, _exported(experiment)[1])
    result = Result.read(path) if path.exists() else None
    return result if result and result.asked == asked else None


def _exported(experiment: Experiment) -> tuple[dict[str, Any], dict[str, str]]:
    """What is known of the last and the best network, and the hashes of those that are there."""
    found = {name: checkpoint.exported(experiment.checkpoints / name) for name in ("last", "best")}
    return found, {name: facts["sha256"] for name, facts in found.items() if facts}


def evaluate_network(
    experiment: Experiment, network: torch.nn.Module, process: Accelerator, *, show: bool = True
) -> Metrics:
    """:func:`trainer.evaluation.evaluate` as the configuration wants it, on the frames of ``evaluate.split``."""
    config = experiment.config
    return evaluate_on(
        network,
        experiment.evaluation_frames(),
        inputs=config.inputs,
        tasks=experiment.tasks,
        size=experiment.size,
        measurement=experiment.measurement,
        batch_size=config.evaluate.batch_size,
        process=process,
        title=f"{config.experiment}: evaluate" if show else None,
    )


def _asked(experiment: Experiment, hashes: dict[str, str]) -> Asked:
    measurement = experiment.measurement
    return Asked(
        checkpoints=hashes,
        manifest=experiment.manifest.sha256,
        checkpoint=experiment.config.evaluate.checkpoint,
        **experiment.measured_on,
        resolution=measurement.resolution,
        range=measurement.ranges,
        crop=measurement.crop,
    )


def _result(experiment: Experiment, found: dict[str, Any], metrics: dict[str, Metrics], asked: Asked) -> Result:
    config = experiment.config
    frames = experiment.training_frames()
    mask = frames.to_train(config.inputs, config.tasks)
    measured = experiment.evaluation_frames().with_inputs(config.inputs)  # others than those of other inputs
    facts = found[config.evaluate.checkpoint]
    names = list(
        dict.fromkeys([*(t.name for t in experiment.manifest.tasks if t.name in config.inputs), *config.tasks])
    )
    return Result(
        experiment=config.experiment,
        dataset=config.data.name,
        seed=config.seed,
        inputs=list(config.inputs),
        tasks=list(config.tasks),
        budget=dict(config.labels),
        assignment=assignment(experiment),
        frames=int(mask.sum()),
        labels=frames.counts(mask, names),
        pseudo_labels={task: int((of & mask).sum()) for task, of in frames.pseudo.items()},
        normalise=config.loss.normalise,
        backbone=config.model.backbone,
        pretrained=pretrained(experiment),
        size=experiment.size,
        crop=parse_size(config.data.crop, "data.crop"),
        steps=facts["step"],
        samples_seen=facts["step"] * config.train.global_batch_size,
        validation_frames=int(measured.sum()),
        validation_set=hashlib.sha256(np.packbits(measured).tobytes()).hexdigest()[:16],
        metrics=metrics[config.evaluate.checkpoint],
        checkpoints=metrics,
        command=experiment.command,
        environment=environment(),
        asked=asked,
    )


def describe(metrics: Metrics) -> Iterator[str]:
    """Lines that say a network's metrics."""
    for task, of in metrics.items():
        scalars = ", ".join(f"{name} {value:.4g}" for name, value in of.items() if isinstance(value, int | float))
        yield f"{task}: {scalars}"
