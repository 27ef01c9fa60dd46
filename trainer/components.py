"""Checks of the components that a trainer, an evaluation or a labelling pass is given."""

from collections.abc import Sequence
from types import NoneType

import torch
from accelerate import Accelerator
from torch import nn

from shards.arguments import check_kind
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.owncode import name_of
from shards.tasks import Task, check_are_tasks, check_is_list
from trainer.config import Config
from trainer.losses import MultiTaskLoss
from trainer.model.network import Architecture, architecture_of
from trainer.option import check_values
from trainer.predictor import Predictor
from trainer.sections import Checkpoint, Model, Train
from trainer.weighting import LossWeighting


def check_training(
    model: nn.Module,
    loss: object,
    *,
    optimizer: object,
    weighting: object,
    accelerator: object,
    train: object,
    checkpoint: object,
    norm: object,
    seed: object,
) -> None:
    """Check the arguments of a :class:`trainer.trainer.Trainer` that it does not check together with others.

    Raises:
        UserError: naming the first that is of another kind or has a value that it cannot have; for a network from
            ``torch.compile``; for one without a parameter to train, such as that of a ``Predictor``, which is frozen.
    """
    check_kind("model", model, nn.Module)
    if hasattr(model, "_orig_mod"):
        raise UserError("is compiled", key="model", hint="give the network itself, and compile=True")
    check_kind("loss", loss, MultiTaskLoss)
    check_kind("optimizer", optimizer, torch.optim.Optimizer, NoneType)
    check_kind("accelerator", accelerator, Accelerator, NoneType)
    check_kind("train", train, Train, NoneType)
    check_kind("checkpoint", checkpoint, Checkpoint, NoneType)
    check_values(Checkpoint, vars(checkpoint or Checkpoint()), "checkpoint.")
    check_values(Model, {"norm": norm})
    check_values(Config, {"seed": seed})
    if not any(parameter.requires_grad for parameter in model.parameters()):
        hint = "call model.requires_grad_() first"
        raise UserError("has no parameter that requires a gradient", key="model", hint=hint)
    check_weighting(model, weighting)


def check_weighting(model: nn.Module, weighting: object) -> None:
    """Make sure that a trainer's weighting of losses is one, and is not an earlier trainer's without a word.

    Raises:
        UserError: naming the argument.
    """
    check_kind("weighting", weighting, LossWeighting, NoneType)
    present = getattr(model, "weighting", None)
    if weighting is None and present is not None:
        hint = "give weighting=model.weighting to go on with it, or set model.weighting = None"
        raise UserError(f"is not given, but the model has {name_of(present)}", key="weighting", hint=hint)


def inputs_of(architecture: Architecture | None, inputs: Sequence[str] | None) -> list[str]:
    """Return the names of a network's inputs: those that are given, else those of its ``architecture``.

    Raises:
        UserError: when neither names any, or the given ones are not those that the network takes.
    """
    if inputs is None:
        if architecture is None:
            raise UserError("does not name its inputs", key="model", hint='give the names: inputs=["rgb"]')
        return list(architecture.inputs)
    check_is_list("inputs", inputs)
    names = list(inputs)
    taken = architecture.inputs if architecture else names
    if lacking := [name for name in taken if name not in names]:
        raise UserError(f"lacks {', '.join(lacking)}, which the network takes", key="inputs", hint="leave inputs out")
    if unused := [name for name in names if name not in taken]:
        message = f"has {', '.join(unused)}, which the network does not take"
        raise UserError(message, key="inputs", hint="leave inputs out")
    if not names:
        raise UserError("names no input", key="inputs", hint='give the names: inputs=["rgb"]')
    return names


def inputs_and_tasks(
    model: object, data: object, inputs: Sequence[str] | None, tasks: Sequence[Task] | None
) -> tuple[list[str], tuple[Task, ...]]:
    """Return the names of a network's inputs, and its tasks: those that are given, else those of its ``architecture``.

    Raises:
        UserError: when ``model`` is not a network, ``data`` not a data set, the network does not name its inputs and
            tasks and neither do the arguments, or these are of other kinds or are not the network's inputs.
    """
    check_kind("model", model, nn.Module)
    if isinstance(model, Predictor):
        raise UserError("is a Predictor", key="model", hint="give its network: predictor.network")
    check_kind("data", data, ShardDataset)
    architecture = architecture_of(model)  # type: ignore[arg-type]
    if architecture is None and (inputs is None or tasks is None):
        hint = 'give them: inputs=["rgb"], tasks=train.tasks'
        raise UserError("does not name its inputs and tasks", key="model", hint=hint)
    names = inputs_of(architecture, inputs)
    return names, tuple(architecture.tasks) if tasks is None and architecture else check_are_tasks(tasks or ())
