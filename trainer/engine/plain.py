"""One process, or several with full replicas that average their gradients (DistributedDataParallel)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from trainer.engine.base import Engine, Moments, gradient_norm


class Plain(Engine):
    """``single`` and ``ddp``, on CPUs and GPUs, and the only engine for fp16."""

    def _check(self, precision: str) -> None:
        """There are no settings to check, and every precision is supported."""

    def _prepare(self) -> None:
        self.name = "single" if self.accelerator.num_processes == 1 else "ddp"
        # The network is on the device already; moving it to "cpu:0" would copy buffers that others may hold views of.
        prepared = self.accelerator.prepare(self.plain, self.optimizer, device_placement=[False, False])
        self.network, self._stepper = prepared

    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        # Around the forward as well: that is where DDP decides whether to reduce.
        return nullcontext() if last else self.accelerator.no_sync(self.network)

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss * self.accelerator.num_processes)  # DDP averages over ranks

    def step(self) -> bool:
        scaler = self.accelerator.scaler
        if self.clip is not None:
            norm = self.accelerator.clip_grad_norm_(self.plain.parameters(), self.clip)
        elif not scaler:  # which checks them itself
            norm = gradient_norm(self.plain)
        if not scaler and not norm.isfinite():
            self.discard()
            return False
        scale = scaler.get_scale() if scaler else 0.0
        self._stepper.step()
        self._stepper.zero_grad()
        # accelerate calls a fused optimizer for a skipped step as well, and so does not report it as skipped.
        return not (scaler and scaler.get_scale() < scale)

    def discard(self) -> None:
        self._stepper.zero_grad()

    def load(self, weights: dict[str, Tensor], moments: Moments) -> None:
        with torch.no_grad():
            for name, tensor in self.plain.state_dict(keep_vars=True).items():
                tensor.copy_(weights[name])
        parameters = list(self.plain.named_parameters())
        state = {index: moments[name] for index, (name, _) in enumerate(parameters) if name in moments}
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})
        for parameter, entry in self.optimizer.state.items():
            for kind, moment in entry.items():
                if moment.shape == parameter.shape:  # fused kernels need the same memory layout for both
                    entry[kind] = torch.empty_like(parameter).copy_(moment)

    def local_elements(self) -> tuple[int, int]:
        moments = [moment for entry in self.optimizer.state.values() for moment in entry.values() if moment.dim()]
        return sum(p.numel() for p in self.plain.parameters()), sum(moment.numel() for moment in moments)

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.plain.state_dict().items()

    def _moments(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        state = self.optimizer.state
        return ((name, state[p]) for name, p in self.plain.named_parameters() if p in state)
