"""How parameters, gradients and optimizer moments are spread over the ranks: one interface, several engines.

The engine follows from how the process was launched (``accelerate launch --config_file configs/engine/X.yaml``), not
from the configuration of the experiment, so that any engine can continue a run that another began.

============  =========================================================  ===================================
engine        every rank holds                                           and a shard of
============  =========================================================  ===================================
single        everything
ddp           everything
zero1         parameters, gradients                                      moments
zero2         parameters                                                 moments, gradients
zero3, fsdp2  small parameters, and those of the active layers           moments, gradients, parameters
============  =========================================================  ===================================
"""

import torch
from accelerate import Accelerator, DistributedType

from shards.errors import UserError
from trainer.engine.base import Engine, is_requested

__all__ = ["Engine", "choose"]


def choose(
    accelerator: Accelerator,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    precision: str = "fp32",
) -> Engine:
    """Return the engine that this process was launched with, around a network on the accelerator's device.

    Args:
        optimizer: Adam or AdamW of ``network``'s parameters, in one group.
        clip: the largest norm of a step's gradients, over all parameters together.
        precision: ``bf16`` computes under ``torch.autocast``, with parameters in fp32; ``fp16`` is handled by
            the accelerator, for ``single`` and ``ddp`` only.

    Raises:
        UserError: for a launch, or a DeepSpeed file, that this trainer does not support.
    """
    if is_requested("DEEPSPEED") and accelerator.distributed_type != DistributedType.DEEPSPEED:
        hint = "leave ACCELERATE_USE_CPU (--cpu) to the trainer, which detects by itself that there is no GPU"
        raise UserError("accelerate would ignore its DeepSpeed settings", key="ACCELERATE_USE_DEEPSPEED", hint=hint)
    arguments = (accelerator, network, optimizer, clip, precision)
    kind = accelerator.distributed_type
    if kind == DistributedType.DEEPSPEED:  # engines are imported only where they are used
        from trainer.engine.zero import Zero

        return Zero(*arguments)
    if kind == DistributedType.FSDP or is_requested("FSDP"):
        from trainer.engine.fsdp import Fsdp2

        return Fsdp2(*arguments)
    if kind in (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU):
        from trainer.engine.plain import Plain

        return Plain(*arguments)
    hint = "use one of configs/engine"
    raise UserError(f"{kind.value} is not an engine of this trainer", key="distributed_type", hint=hint)
