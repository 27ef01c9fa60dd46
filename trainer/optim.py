"""Optimizer and learning-rate schedule, both functions of the configuration and the step alone."""

import math
from collections.abc import Collection

import torch

from shards.errors import UserError
from trainer.sections import Train

_KINDS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def make_optimizer(network: torch.nn.Module, config: Train) -> torch.optim.Optimizer:
    """Return Adam or AdamW over all parameters; the fused kernels do one pass over memory instead of ten."""
    return _KINDS[config.optimizer](network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def check_options(optimizer: torch.optim.Optimizer, config: Train, given: Collection[str]) -> None:
    """Make sure that the options beside an optimizer do not contradict it.

    Args:
        optimizer: the optimizer that is used.
        config: all options.
        given: names of those that were given by themselves; of the others, only values that are not defaults count.

    Raises:
        UserError: for a ``weight_decay`` or ``optimizer`` that would have no effect.
    """
    used = {"optimizer": type(optimizer).__name__.lower(), "weight_decay": optimizer.param_groups[0]["weight_decay"]}
    for name, value in used.items():
        asked = getattr(config, name)
        if asked != value and (name in given or asked != getattr(Train, name)):
            message = f"is {asked}, where the optimizer has {value}"
            raise UserError(message, key=name, hint="leave it out, or create the optimizer with it")


def check_optimizer(optimizer: torch.optim.Optimizer, network: torch.nn.Module) -> None:
    """Make sure that the engines and checkpoints can handle an optimizer.

    Raises:
        UserError: when it is not Adam or AdamW, without AMSGrad, of exactly the network's parameters in one group.
    """
    name = type(optimizer).__name__
    if type(optimizer) not in _KINDS.values():
        raise UserError(f"is {name}", key="optimizer", hint="use torch.optim.Adam or AdamW")
    if optimizer.defaults["amsgrad"]:
        raise UserError(f"is {name} with amsgrad", key="optimizer", hint="leave amsgrad out")
    if len(optimizer.param_groups) != 1:
        message = f"has {len(optimizer.param_groups)} parameter groups"
        raise UserError(message, key="optimizer", hint="give model.parameters() as one group")
    optimized = {id(parameter) for parameter in optimizer.param_groups[0]["params"]}
    parameters = dict(network.named_parameters())
    if missing := [key for key, parameter in parameters.items() if id(parameter) not in optimized]:
        hint = "create it from all of model.parameters(), with a weighting set as model.weighting before"
        raise UserError(f"lacks the parameter {missing[0]}", key="optimizer", hint=hint)
    if len(optimized) > len(parameters):
        raise UserError("has parameters that are not the model's", key="optimizer", hint="give model.parameters()")


def learning_rate(step: int, steps: int, config: Train) -> float:
    """Return the learning rate of step ``step`` (from 0) of ``steps``.

    It is set before each step rather than by a scheduler object, which accelerate would advance once per process.
    """
    progress = step / max(steps, 1)
    factor = {
        "polynomial": (1 - progress) ** 0.9,
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "constant": 1.0,
    }[config.schedule]
    if step < config.warmup_steps:
        factor *= (step + 1) / config.warmup_steps
    return config.lr * factor


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
