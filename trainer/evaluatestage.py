"""The evaluation stage: measures an experiment's exported networks and writes ``result.json``."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from shards.atomic import write_json
from shards.dataset import ShardDataset
from shards.errors import UserError
from trainer.conditions import conditions_of, existing_result, measurement_of, read_exports
from trainer.evaluation import evaluate as evaluate_on
from trainer.experiment import Experiment
from trainer.optionerrors import name_options
from trainer.parsing import parse_size
from trainer.runs import checkpoint
from trainer.runs.folder import assignment, claim, environment, pretrained
from trainer.runs.result import NAME, Conditions, Metrics, Result
from trainer.runs.status import mark_finished, new_launch, record_stage
from trainer.runtime import broadcast, inference_precision, make_accelerator, report_lost_ranks


@name_options()
def evaluate(experiment: Experiment) -> Result:
    """Evaluate an experiment's exported networks and write ``result.json``, unless an up-to-date one exists.

    Returns:
        The content of the file.

    Raises:
        UserError: when there is no exported network, one of another configuration, or no frame to evaluate on.
    """
    exports, hashes = read_exports(experiment)
    selected = experiment.config.evaluate.checkpoint
    if selected not in hashes:
        hint = "train it (`tutelage train CONFIG`)" + ("" if selected == "last" else " with evaluate.every set")
        raise UserError(f"there is no {selected} checkpoint", file=experiment.checkpoints, hint=hint)
    claim(experiment)
    options = experiment.config.train
    accelerator = make_accelerator(inference_precision(options.precision), options.timeout)
    result: Result | None = broadcast(accelerator, existing_result(experiment))
    if result is not None:
        mark_finished(experiment.folder, "evaluate")
        return result
    with record_stage(experiment.folder, "evaluate", broadcast(accelerator, new_launch())), report_lost_ranks():
        frames, metrics = _frames_of_training(experiment), {}
        for name in hashes:
            network, _ = checkpoint.load_exported(experiment.checkpoints / name, experiment.config.model.name)
            network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            metrics[name] = evaluate_network(experiment, network, accelerator)
        result = _result(experiment, exports, metrics, conditions_of(experiment, hashes), frames)
        if accelerator.is_main_process:
            write_json(experiment.folder / NAME, result.to_json())
        accelerator.wait_for_everyone()
    return result


def evaluate_network(
    experiment: Experiment, network: torch.nn.Module, accelerator: Accelerator, *, show: bool = True
) -> Metrics:
    """Call :func:`trainer.evaluation.evaluate` as the configuration says, on the frames of ``evaluate.split``."""
    config = experiment.config
    return evaluate_on(
        network,
        ShardDataset.of(experiment.evaluation_frames),
        inputs=config.inputs,
        tasks=experiment.tasks,
        size=experiment.size,
        measurement=measurement_of(experiment),
        batch_size=config.evaluate.batch_size,
        accelerator=accelerator,
        title=f"{config.experiment}: evaluate" if show else None,
    )


def _frames_of_training(experiment: Experiment) -> dict[str, Any]:
    """Return the entries of ``result.json`` about the frames that the network was trained on; those of an earlier
    result if a teacher's labels have been deleted since.

    Raises:
        UserError: when they have, and there is no earlier result.
    """
    config, path = experiment.config, experiment.folder / NAME
    try:
        frames = experiment.training_frames()
    except UserError:
        if not path.exists():
            raise
        earlier = Result.read(path)
        return {name: getattr(earlier, name) for name in ("frames", "labels", "pseudo_labels")}
    mask = frames.to_train(config.inputs, config.tasks)
    inputs = (task.name for task in experiment.manifest.tasks if task.name in config.inputs)
    return {
        "frames": int(mask.sum()),
        "labels": frames.counts(mask, list(dict.fromkeys([*inputs, *config.tasks]))),
        "pseudo_labels": {task: int((labelled & mask).sum()) for task, labelled in frames.pseudo.items()},
    }


def _result(
    experiment: Experiment,
    exports: dict[str, Any],
    metrics: dict[str, Metrics],
    conditions: Conditions,
    frames: dict[str, Any],
) -> Result:
    config = experiment.config
    validation = experiment.evaluation_frames
    measured = validation.with_inputs(config.inputs)  # differs between inputs
    facts = exports[config.evaluate.checkpoint]
    return Result(
        experiment=config.experiment,
        dataset=config.data.name,
        seed=config.seed,
        inputs=list(config.inputs),
        tasks=list(config.tasks),
        budget=dict(config.labels),
        assignment=assignment(experiment),
        **frames,
        normalise=config.loss.normalise,
        backbone=config.model.backbone,
        pretrained=pretrained(experiment),
        size=experiment.size,
        crop=parse_size(config.data.crop, "data.crop"),
        steps=facts["step"],
        samples_seen=facts["step"] * config.train.global_batch_size,
        validation_frames=int(measured.sum()),
        validation_set=hashlib.sha256(np.packbits(measured).tobytes()).hexdigest()[:16],
        validation_labels=validation.counts(measured, config.tasks),
        metrics=metrics[config.evaluate.checkpoint],
        checkpoints=metrics,
        command=experiment.command,
        environment=environment(),
        asked=conditions,
    )


def describe(metrics: Metrics) -> Iterator[str]:
    """Yield a line with the scalar metrics of each task."""
    for task, values in metrics.items():
        numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
        scalars = ", ".join(
            f"{name} {value}" if isinstance(value, int) else f"{name} {value:.4g}" for name, value in numbers.items()
        )
        yield f"{task}: {scalars}"
