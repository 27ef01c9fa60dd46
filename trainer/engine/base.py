"""The interface between the training loop and an engine."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy, deepcopy
from itertools import chain
from types import MethodType

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shards.errors import UserError

Moments = dict[str, dict[str, Tensor]]
"""By parameter name: ``exp_avg`` and ``exp_avg_sq`` of its shape, and ``step``, a single number."""


class Engine(ABC):
    """Forward, backward and optimizer step of a network on all ranks.

    All ranks call the same methods in the same order. A step is ::

        for number, batch in enumerate(micro_batches):
            with engine.micro_batch(last=number == len(micro_batches) - 1):
                engine.backward(loss(engine.network(batch)))
        engine.step()

    Attributes:
        name: ``single``, ``ddp``, ``zero1``, ``zero2``, ``zero3`` or ``fsdp2``.
        sharded: whether a rank holds only a part of the parameters between two steps.
        network: the module to call in training; its ``train()`` and ``eval()`` reach every layer.
        optimizer: the optimizer whose ``param_groups`` hold the learning rate; not always the constructor's argument.
    """

    name: str
    sharded: bool = False
    network: nn.Module
    optimizer: torch.optim.Optimizer
    _unsharded: nn.Module
    """A copy on the CPU, made before the network was sharded."""

    def __init__(
        self,
        accelerator: Accelerator,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip: float | None,
        precision: str,
    ) -> None:
        self.accelerator, self.plain, self.optimizer, self.clip = accelerator, network, optimizer, clip
        self._check(precision)
        network.__dict__.pop("forward", None)  # that of an earlier training, in another precision
        if precision == "bf16":
            _compute_in_bf16(network, accelerator.device.type)
        self._prepare()

    @abstractmethod
    def _check(self, precision: str) -> None:
        """Raise a :class:`UserError` for settings that this engine does not support, and apply the others."""

    @abstractmethod
    def _prepare(self) -> None:
        """Distribute the network over the ranks, and set :attr:`network`."""

    @abstractmethod
    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        """The context of a micro-batch's forward and backward; gradients need to be reduced only after the last one."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of this rank's part of the loss, which is a sum over ranks and micro-batches."""

    @abstractmethod
    def step(self) -> bool:
        """Clip the gradients, do the optimizer step, and clear the gradients.

        Returns:
            False where a gradient is not finite: weights and moments are then unchanged. The same on all ranks.
        """

    @abstractmethod
    def discard(self) -> None:
        """Clear the gradients that were accumulated since the last step."""

    def replica(self) -> nn.Module:
        """Return the network with whole weights, for evaluation: its forward needs no other rank. Do not keep it.

        It computes in fp32 and uncompiled, as an exported network does, whatever training does: without the forward
        that mixed precision installed. Where weights are not sharded it shares them.
        """
        if not self.sharded:
            return as_built(self.plain)
        network = as_built(deepcopy(self._unsharded)).to(self.accelerator.device)
        state = network.state_dict()
        for name, tensor in self._weights():
            state[name].copy_(tensor)
        return network

    def weights(self) -> dict[str, Tensor]:
        """Return whole parameters and buffers by the plain network's names, on rank 0's CPU; other ranks get none."""
        return {name: _copy_to_cpu(tensor) for name, tensor in self._weights() if self.accelerator.is_main_process}

    def moments(self) -> Moments:
        """Return the whole optimizer state by parameter, on rank 0's CPU; other ranks get none. Empty before a step."""
        return {
            name: {kind: _copy_to_cpu(moment) for kind, moment in moments.items()}
            for name, moments in self._moments()
            if self.accelerator.is_main_process
        }

    def local_state(self) -> dict[str, Tensor]:
        """Return parameters and buffers by name as this rank holds them between two steps, without copying: whole, or
        this rank's shard.

        Raises:
            UserError: where the engine gives no access to them.
        """
        return dict(self.plain.state_dict())

    @abstractmethod
    def load(self, weights: dict[str, Tensor], moments: Moments) -> None:
        """Load what :meth:`weights` and :meth:`moments` of any engine returned; all ranks pass it whole."""

    @abstractmethod
    def local_elements(self) -> tuple[int, int]:
        """Return the number of elements of parameters and of moments that this rank holds between two steps."""

    @abstractmethod
    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield whole tensors by name, one after the other; all ranks iterate together."""

    @abstractmethod
    def _moments(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Yield the whole optimizer state of each parameter, likewise."""


def is_requested(engine: str) -> bool:
    """Whether accelerate's file requests ``DEEPSPEED`` or ``FSDP``, even if accelerate ignores it on this machine."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true"


def refuse_fp16(accelerator: Accelerator, precision: str, name: str) -> None:
    """Refuse fp16, whose loss scale is accelerate's, for engines that step without accelerate.

    Raises:
        UserError: for fp16, or when accelerate would convert the weights.
    """
    if precision == "fp16" or accelerator.mixed_precision != "no":
        requested = precision if accelerator.mixed_precision == "no" else accelerator.mixed_precision
        hint = "use precision=bf16 or fp32, and mixed_precision: 'no' in accelerate's file"
        raise UserError(f"{name} does not train in {requested}", key="precision", hint=hint)


def _compute_in_bf16(network: nn.Module, device: str) -> None:
    # Inside the network, since DeepSpeed disables an autocast around it. A bound method, so that a copy gets its own.
    forward = torch.autocast(device, torch.bfloat16)(type(network).forward)
    network.forward = MethodType(forward, network)


def as_built(network: nn.Module) -> nn.Module:
    """Return a shallow copy with the forward of the network's class: it computes in fp32 and is not compiled, whatever
    training uses."""
    shallow = copy(getattr(network, "_orig_mod", network))  # what torch.compile(network) wraps
    shallow.__dict__.pop("forward", None)
    return shallow


@contextmanager
def ready_to_infer(network: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Context with a network that computes as an exported one does: in evaluation mode, in fp32, on the device, where
    it stays. At the end all modules have the mode that they had before."""
    modes = [(module, module.training) for module in network.modules()]
    network = as_built(network.eval())
    present = next((tensor.device for tensor in chain(network.parameters(), network.buffers())), device)
    other_index = None not in (present.index, device.index) and present.index != device.index
    if present.type != device.type or other_index:  # moved to "cpu:0", buffers would be copied
        network.to(device)
    try:
        yield network
    finally:
        for module, training in modes:
            module.training = training


def gradient_norm(network: nn.Module) -> Tensor:
    """Return the L2 norm of all gradients, one number: not finite where any gradient is not."""
    return nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])


def _copy_to_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
