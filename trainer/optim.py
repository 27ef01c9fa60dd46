"""Optimizer and learning-rate schedule, both functions of the configuration and the step alone."""

import math

import torch

from trainer.config import Train


def make_optimizer(network: torch.nn.Module, config: Train) -> torch.optim.Optimizer:
    """Return Adam or AdamW over all parameters; the fused kernels do one pass over memory instead of ten."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


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
