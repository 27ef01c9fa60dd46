"""Checks that all ranks train one network: a misunderstood launch would train several of them side by side."""

import torch
from accelerate import Accelerator

from shards.errors import UserError
from shards.owncode import name_of
from trainer.engine.base import Engine
from trainer.model.norm import Statistics


def check_gradients(engine: Engine) -> None:
    """Make sure, before the first step of several ranks, that every parameter has a gradient: where one has none, DDP
    does not reduce the gradients of some others over the ranks.

    Raises:
        UserError: the same on all ranks.
    """
    if engine.name != "ddp":
        return
    unused = [name for name, p in engine.plain.named_parameters() if p.requires_grad and p.grad is None]
    if unused:
        names = ", ".join(unused[:3]) + (", ..." if len(unused) > 3 else "")
        message = f"{name_of(engine.plain)} has parameters that no prediction follows from: {names}"
        hint = "several ranks cannot train them: use them in forward, take them out, or set requires_grad to False"
        raise UserError(message, key="model", hint=hint)


def check_ranks(engine: Engine, statistics: Statistics, accelerator: Accelerator) -> None:
    """Make sure that the ranks are those that were started, and hold the same network: if accelerate misunderstands a
    launch, it trains several independent networks.

    Raises:
        UserError: the same on all ranks.
    """
    rank = accelerator.process_index
    parameters = [p.detach() for p in engine.network.parameters() if not engine.sharded]
    bits = [tensor.view(torch.int32).sum(dtype=torch.int64) for tensor in [*parameters, statistics.flat]]
    checksum = torch.stack([torch.full_like(bits[0], rank), torch.stack(bits).sum()])
    ranks, sums = accelerator.gather(checksum[None]).T.tolist()
    if ranks != list(range(accelerator.num_processes)) or len(set(sums)) > 1:
        message = f"after a step, ranks {ranks} hold networks that differ (their bits add up to {sums})"
        hint = "launch with one of configs/engine, one process per device"
        raise UserError(message, key="launch", hint=hint)
