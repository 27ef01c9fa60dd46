"""Batch norm over several ranks: synchronised, frozen, or with averaged running statistics."""

from typing import Any

import torch
from accelerate import Accelerator
from torch.nn.modules.batchnorm import _BatchNorm

from shards.errors import UserError
from trainer.model.repaired import timm


def prepare_norm(network: torch.nn.Module, kind: str, accelerator: Accelerator) -> torch.nn.Module:
    """Return the network with the normalisation that the trainer's ``norm`` selects.

    Raises:
        UserError: for ``sync`` over ranks without GPUs, which torch does not support.
    """
    if kind != "sync" or accelerator.num_processes == 1:
        return network
    if accelerator.device.type == "cpu":
        hint = "use norm=batch or frozen, or train on GPUs"
        raise UserError("torch synchronises batch norm on GPUs only", key="norm", hint=hint)
    return timm.layers.convert_sync_batchnorm(network)


def train_mode(network: torch.nn.Module, kind: str) -> None:
    """Set training mode; with ``frozen``, batch norm layers keep normalising with their running statistics."""
    network.train()
    for module in network.modules() if kind == "frozen" else ():
        if isinstance(module, _BatchNorm):
            module.eval()


class Statistics:
    """The running statistics of all normalisation layers, as views of one flat tensor.

    Every rank collects statistics of its own micro-batches. Their mean over ranks, taken after each step, uses the
    whole global batch and is the same for every engine; DDP would keep rank 0's and drop the others.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        buffers: list[tuple[Any, str]] = [
            (module, name)
            for module in network.modules()
            for name in ("running_mean", "running_var")
            if isinstance(getattr(module, name, None), torch.Tensor)
        ]
        device = next(network.parameters()).device
        self.flat = torch.cat([torch.zeros(0, device=device), *(getattr(module, name) for module, name in buffers)])
        self._snapshot = self.flat.clone()
        sizes = [getattr(module, name).numel() for module, name in buffers]
        for (module, name), view in zip(buffers, self.flat.split(sizes), strict=True):
            setattr(module, name, view)

    def snapshot(self) -> None:
        """Store the statistics before a step."""
        self._snapshot.copy_(self.flat)

    def restore(self) -> None:
        """Return to the snapshot, so that a skipped step leaves the statistics unchanged."""
        self.flat.copy_(self._snapshot)

    def average(self, accelerator: Accelerator) -> None:
        """Replace the statistics by their mean over all ranks."""
        if accelerator.num_processes > 1:
            self.flat.copy_(accelerator.reduce(self.flat.clone(), "mean"))
