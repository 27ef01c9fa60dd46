"""How parameters, gradients and optimizer moments are spread over the ranks: one interface, several engines.

The engine follows from how the process was launched (``accelerate launch --config_file configs/engine/X.yaml``), not
from the configuration of the experiment, so that any of them can continue what another began.

============  =========================================================  ===================================
engine        every rank holds                                           its part of
============  =========================================================  ===================================
single        everything
ddp           everything
zero1         parameters, gradients                                      moments
zero2         parameters                                                 moments, gradients
zero3, fsdp2  small parameters, and those of the layers at work           moments, gradients, parameters
============  =========================================================  ===================================
"""

import torch
from accelerate import Accelerator, DistributedType

from shards.errors import UserError
from trainer.engine.base import Engine, asks

__all__ = ["Engine", "choose"]


def choose(
    accelerator: Accelerator,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    clip: float | None = None,
    precision: str = "fp32",
) -> Engine:
    """The engine that this process was launched with, around a network that lies on the accelerator's device already.

    Args:
        optimizer: Adam or AdamW of ``network``'s parameters, in one group.
        clip: greatest norm of the gradients of a step, all parameters taken together.
        precision: ``bf16`` computes under ``torch.autocast``, with parameters in fp32; ``fp16`` is the
            accelerator's business, and for ``single`` and ``ddp`` only.

    Raises:
        UserError: for a launch, or a DeepSpeed file, that this trainer does not know how to obey.
    """
    if asks("DEEPSPEED") and accelerator.distributed_type != DistributedType.DEEPSPEED:
        hint = "leave ACCELERATE_USE_CPU (--cpu) to the trainer, which sees itself that there is no GPU"
        raise UserError("accelerate would ignore its DeepSpeed settings", key="ACCELERATE_USE_DEEPSPEED", hint=hint)
    arguments = (accelerator, network, optimizer, clip, precision)
    kind = accelerator.distributed_type
    if kind == DistributedType.DEEPSPEED:  # only what is needed is imported
        from trainer.engine.zero import Zero

        return Zero(*arguments)
    if kind == DistributedType.FSDP or asks("FSDP"):
        from trainer.engine.fsdp import Fsdp2

        return Fsdp2(*arguments)
    if kind in (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU):
        from trainer.engine.plain import Plain

        return Plain(*arguments)
    hint = "use one of configs/engine"
    raise UserError(f"{kind.value} is not an engine of this trainer", key="distributed_type", hint=hint)
