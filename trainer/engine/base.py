"""What the training loop asks of an engine."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from copy import copy, deepcopy
from types import MethodType

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from shards.errors import UserError

Moments = dict[str, dict[str, Tensor]]
"""By name of the parameter: ``exp_avg`` and ``exp_avg_sq`` of its shape, and ``step``, a single number."""


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
        network: to be called in training; its ``train()`` and ``eval()`` reach every layer.
        optimizer: the one whose ``param_groups`` hold the learning rate; not always the one that was given.
    """

    name: str
    sharded: bool = False
    network: nn.Module
    optimizer: torch.optim.Optimizer
    _whole: nn.Module
    """A copy on the CPU from before the network was sharded."""

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
        if precision == "bf16":
            _compute_in_bf16(network, accelerator.device.type)
        self._prepare()

    @abstractmethod
    def _check(self, precision: str) -> None:
        """Raises a :class:`UserError` for what this engine was told and would not do; sees to what it would."""

    @abstractmethod
    def _prepare(self) -> None:
        """Spread the network over the ranks, and set :attr:`network`."""

    @abstractmethod
    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        """The surroundings of a micro-batch's forward and backward; gradients need to meet only after the last one."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this rank's part of the loss: what counts is the sum over ranks and micro-batches."""

    @abstractmethod
    def step(self) -> bool:
        """Clip the gradients, step, and drop them.

        Returns:
            False where the engine saw gradients that are not finite and left weights and moments as they were, which
            fp16 and ZeRO do; the same on all ranks.
        """

    @abstractmethod
    def discard(self) -> None:
        """Drop the gradients of the micro-batches that were backwarded since the last step."""

    def replica(self) -> nn.Module:
        """The network with whole weights, to be evaluated: its forward waits for no other rank. Not to be kept.

        It computes in fp32 and uncompiled, as an exported network does, whatever training does: the forward that
        mixed precision put into it is left out. Where weights are not sharded it shares them.
        """
        if not self.sharded:
            return as_built(self.plain)
        whole = as_built(deepcopy(self._whole)).to(self.accelerator.device)
        own = whole.state_dict()
        for name, tensor in self._weights():
            own[name].copy_(tensor)
        return whole

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers under the names of the plain network, whole, on the CPU of rank 0; others get none."""
        return {name: _kept(tensor) for name, tensor in self._weights() if self.accelerator.is_main_process}

    def moments(self) -> Moments:
        """The optimizer's state by parameter, whole, on the CPU of rank 0; others get none. Empty before a step."""
        return {
            name: {kind: _kept(moment) for kind, moment in of.items()}
            for name, of in self._moments()
            if self.accelerator.is_main_process
        }

    def held(self) -> dict[str, Tensor]:
        """By name, parameters and buffers as this rank holds them between two steps: the very memory of them, whole or
        of sharded ones this rank's part.

        Raises:
            UserError: where they cannot be had.
        """
        return dict(self.plain.state_dict())

    @abstractmethod
    def load(self, weights: dict[str, Tensor], moments: Moments) -> None:
        """Put in place what :meth:`weights` and :meth:`moments` gave, of any engine; all ranks give it whole."""

    @abstractmethod
    def local_elements(self) -> tuple[int, int]:
        """Elements of the network's parameters and of the moments that this rank holds between two steps."""

    @abstractmethod
    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """All ranks iterate together, and get whole tensors one after the other."""

    @abstractmethod
    def _moments(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Likewise."""


def asks(engine: str) -> bool:
    """Whether accelerate's file asks for ``DEEPSPEED`` or ``FSDP``, whatever accelerate makes of it on this machine."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true"


def refuse_fp16(accelerator: Accelerator, precision: str, name: str) -> None:
    """The loss scale of fp16 is accelerate's, which these engines step without.

    Raises:
        UserError: for fp16, or when accelerate would convert the weights.
    """
    if precision == "fp16" or accelerator.mixed_precision != "no":
        asked = precision if accelerator.mixed_precision == "no" else accelerator.mixed_precision
        hint = "use train.precision=bf16 or fp32, and mixed_precision: 'no' in accelerate's file"
        raise UserError(f"{name} does not train in {asked}", key="train.precision", hint=hint)


def _compute_in_bf16(network: nn.Module, device: str) -> None:
    # Inside the network, since DeepSpeed switches off an autocast around it. A method, so that a copy calls its own.
    forward = torch.autocast(device, torch.bfloat16)(type(network).forward)
    network.forward = MethodType(forward, network)


def as_built(network: nn.Module) -> nn.Module:
    """The same modules and weights under the forward of the network's class: in fp32, whatever precision it learns
    in."""
    shallow = copy(network)
    shallow.__dict__.pop("forward", None)
    return shallow


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
