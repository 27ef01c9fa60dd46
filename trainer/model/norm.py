"""Batch norm when a batch is spread over ranks, and when its statistics must not depend on that."""

from typing import Any

import torch
from accelerate import Accelerator
from timm.layers import convert_sync_batchnorm
from torch.nn.modules.batchnorm import _BatchNorm

from shards.errors import UserError


def prepare_norm(network: torch.nn.Module, kind: str, process: Accelerator) -> torch.nn.Module:
    """The network with the normalisation that ``model.norm`` asks for.

    Raises:
        UserError: for ``sync`` over ranks without GPUs, which torch cannot do.
    """
    if kind != "sync" or process.num_processes == 1:
        return network
    if process.device.type == "cpu":
        hint = "use model.norm=batch or frozen, or train on GPUs"
        raise UserError("torch synchronises batch norm on GPUs only", key="model.norm", hint=hint)
    return convert_sync_batchnorm(network)


def train_mode(network: torch.nn.Module, kind: str) -> None:
    """Training mode; ``frozen`` layers go on normalising with the statistics they hold."""
    network.train()
    for module in network.modules() if kind == "frozen" else ():
        if isinstance(module, _BatchNorm):
            module.eval()


class Statistics:
    """The running statistics of all normalisation layers, laid out in one tensor that they become views of.

    Every rank gathers statistics of its own micro-batches. Their mean over ranks, taken after each step, uses the whole
    global batch and is the same for every engine; DDP would keep rank 0's and drop the others.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        places: list[tuple[Any, str]] = [
            (module, name)
            for module in network.modules()
            for name in ("running_mean", "running_var")
            if isinstance(getattr(module, name, None), torch.Tensor)
        ]
        device = next(network.parameters()).device
        self.flat = torch.cat([torch.zeros(0, device=device), *(getattr(module, name) for module, name in places)])
        self._kept = self.flat.clone()
        sizes = [getattr(module, name).numel() for module, name in places]
        for (module, name), view in zip(places, self.flat.split(sizes), strict=True):
            setattr(module, name, view)

    def keep(self) -> None:
        """Remember the statistics as they are before a step."""
        self._kept.copy_(self.flat)

    def restore(self) -> None:
        """Go back to what was remembered: a step that is skipped leaves no trace."""
        self.flat.copy_(self._kept)

    def average(self, process: Accelerator) -> None:
        """The mean over all ranks."""
        if process.num_processes > 1:
            self.flat.copy_(process.reduce(self.flat.clone(), "mean"))
