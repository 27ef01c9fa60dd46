"""The training stage: an experiment's components, and the run in its folder."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from omegaconf import OmegaConf

from shards.errors import UserError
from shards.log import logger
from trainer.adjustment import logit_offsets
from trainer.conditions import evaluation_facts, measurement_of
from trainer.evaluatestage import evaluate_network
from trainer.experiment import Experiment
from trainer.foreseen import check_training
from trainer.losses import MultiTaskLoss
from trainer.model.base import Network
from trainer.model.network import build
from trainer.optionerrors import name_options
from trainer.runs import artifacts
from trainer.runs.code import note_code
from trainer.runs.folder import claim
from trainer.runs.result import Metrics
from trainer.runs.running import hold_run
from trainer.runs.start import continued, match_start_normalisation, start_from
from trainer.runs.status import mark_finished
from trainer.runtime import broadcast, inference_precision, make_accelerator
from trainer.trainer import Trainer
from trainer.trainingdata import TrainingData
from trainer.validation import Validation
from trainer.weighting import weighting_of


@name_options()
def train(experiment: Experiment) -> Path:
    """Train an experiment's network, continuing an interrupted run, and export its last state.

    Returns:
        The folder of the exported network; at once for a finished run.

    Raises:
        UserError: for a bad configuration, bad data, a run that another process holds, or a loss that stays infinite.
        Interrupted: on SIGINT, SIGTERM or SIGUSR1, with a checkpoint written, or the network if it was the last step.
        LostRank: when another rank has ended.
    """
    last = experiment.checkpoints / "last"
    options, finished = experiment.config.train, artifacts.read_exported(last) is not None
    precision = inference_precision(options.precision) if finished else options.precision
    accelerator = make_accelerator(precision, options.timeout)
    if broadcast(accelerator, artifacts.read_exported(last)):
        claim(experiment)
        note_code(experiment)
        mark_finished(experiment.folder, "train")
        return last
    with hold_run(experiment.folder, accelerator) as hold:
        claim(experiment)
        note_code(experiment)
        if not broadcast(accelerator, artifacts.read_exported(last)):  # not by the process that held it until now
            check_training(experiment)
            note_unmeasured(experiment)
            trainer_of(experiment, accelerator).run(hold)
    return last


def note_unmeasured(experiment: Experiment) -> None:
    """Note the tasks that no frame of ``evaluate.split`` shows, whose metrics will be missing; a split without any
    frame is an error of the evaluation."""
    try:
        frames = experiment.evaluation_frames
    except UserError:
        return
    measured = frames.with_inputs(experiment.config.inputs)
    for task in experiment.tasks:
        if not (frames.visible[task.name] & measured).any():
            split = experiment.config.evaluate.split
            logger.warning(f"note: {task.name}: no frame of {split} shows it, so it will not be measured")


@name_options()
def trainer_of(experiment: Experiment, accelerator: Accelerator | None = None) -> Trainer:
    """Return the trainer of an experiment, with network, loss and data as its configuration describes them."""
    config = experiment.config
    accelerator = accelerator or make_accelerator(config.train.precision, config.train.timeout)
    frames, _ = experiment.frames_to_train()
    offsets = logit_offsets(frames, experiment.tasks, config.loss.logit_adjustment, config.loss.soft_adjustment)
    loss = loss_of(experiment, {name: offset.to(accelerator.device) for name, offset in offsets.items()})
    torch.manual_seed(config.seed)
    network = network_of(experiment)
    return Trainer(
        network,
        loss,
        TrainingData.of(config, frames),
        out=experiment.folder,
        val=_validation(experiment, accelerator),
        seed=config.seed,
        train=_to_dataclass(config.train),
        checkpoint=_to_dataclass(config.checkpoint),
        norm=config.model.norm,
        name=config.experiment,
        accelerator=accelerator,
        weighting=weighting_of(config.loss.weighting, len(experiment.tasks)),
    )


def network_of(experiment: Experiment) -> Network:
    """Return the network of an experiment before its first step, with random values from torch's global generator; for
    a run that continues, without the weights that it started from."""
    model = experiment.config.model
    if architecture := continued(experiment.folder, experiment.architecture):
        return build(architecture)
    if model.start is None:
        return build(experiment.architecture, model.pretrained, model.pretrained_inputs)
    network = build(match_start_normalisation(experiment.architecture, model.start))
    if initialised := start_from(network, model.start):
        logger.info(f"{model.start}: without {', '.join(initialised)}, which start anew")
    return network


def loss_of(experiment: Experiment, offsets: dict[str, torch.Tensor] | None = None) -> MultiTaskLoss:
    """Return the loss that a configuration describes."""
    loss = experiment.config.loss
    return MultiTaskLoss(
        experiment.tasks,
        loss.weights,
        loss.normalise,  # type: ignore[arg-type]
        loss.deep,
        loss.deep_cells,
        offsets,
    )


def _validation(experiment: Experiment, accelerator: Accelerator) -> Validation | None:
    options = experiment.config.evaluate
    if not options.every:
        return None

    def measure(network: torch.nn.Module) -> Metrics:
        return evaluate_network(experiment, network, accelerator, show=False)

    # values can only be compared where all of these are equal
    facts = {"metric": options.best, **evaluation_facts(experiment), **measurement_of(experiment).to_json()}
    return Validation(measure, options.best, options.every, options.split, facts)


def _to_dataclass(section: Any) -> Any:
    """Return a section of a configuration as its dataclass."""
    return OmegaConf.to_object(section) if OmegaConf.is_config(section) else section
