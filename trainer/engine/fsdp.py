"""Parameters, gradients and moments in parts (torch's ``fully_shard``, FSDP2), gathered layer by layer.

Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (VLDB 2023). On GPUs accelerate shards
the network as its file says. On CPUs it would ignore that file: it is told there to shard all the same.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy

import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import CPUOffloadPolicy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy, transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor

from shards.errors import UserError
from trainer.engine.base import Engine, Moments, refuse_fp16


class Fsdp2(Engine):
    """``fsdp2``, on CPUs (gloo) and GPUs."""

    name = "fsdp2"
    sharded = True

    def _check(self, precision: str) -> None:
        refuse_fp16(self.accelerator, precision, self.name)
        if self.accelerator.num_processes == 1:
            raise UserError("has nothing to share with", key="num_processes", hint="use 2 or more, or no engine")
        if self.accelerator.distributed_type != DistributedType.FSDP:
            _reveal(self.accelerator)
        plugin = self.accelerator.state.fsdp_plugin
        _refuse(plugin)
        _wrap_by_size(plugin, self.plain)

    def _prepare(self) -> None:
        self.plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # it shards nothing else
        self._whole = deepcopy(self.plain).cpu()
        self.network, _ = self.accelerator.prepare(self.plain, self.optimizer)

    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        # Each one's gradients are shared at once: kept for the last they would be whole, and `discard` not reach them.
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        (loss * self.accelerator.num_processes).backward()  # it averages over ranks

    def step(self) -> bool:
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()
        self.discard()
        return True

    def discard(self) -> None:
        self.optimizer.zero_grad()

    def held(self) -> dict[str, Tensor]:
        return {
            name: tensor.to_local() if isinstance(tensor, DTensor) else tensor
            for name, tensor in self.network.state_dict().items()
        }

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], moments: Moments) -> None:
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            tensor.copy_(_part(weights[name], tensor))
        self.optimizer.state.clear()
        fused = self.optimizer.param_groups[0]["fused"]
        device = self.accelerator.device if fused else "cpu"  # where the optimizer counts its steps
        for name, parameter in self.network.named_parameters():
            if name in moments:
                step = moments[name]["step"].to(device)
                of = {kind: _part(moments[name][kind], parameter) for kind in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[parameter] = {"step": step.clone(), **of}

    def local_elements(self) -> tuple[int, int]:
        moments = [moment for of in self.optimizer.state.values() for moment in of.values() if moment.dim()]
        return _local(self.network.parameters()), _local(moments)

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, _full(tensor)) for name, tensor in self.network.state_dict().items())

    def _moments(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for name, parameter in self.network.named_parameters():
            if of := self.optimizer.state.get(parameter):
                yield name, {kind: _full(moment) for kind, moment in of.items()}


def _reveal(accelerator: Accelerator) -> None:
    """Tell accelerate on a machine without GPUs what its file says, so that it shards there by the same settings."""
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()  # from what the launcher put into the environment
    accelerator.state.distributed_type = DistributedType.FSDP


def _refuse(plugin: FullyShardedDataParallelPlugin) -> None:
    """Raises a :class:`UserError` for what this engine would do wrong or not at all."""
    if plugin.fsdp_version != 2:
        raise UserError("only 2 is known", key="fsdp_version", hint="use configs/engine/fsdp2.yaml")
    unknown = {
        "fsdp_cpu_ram_efficient_loading": plugin.cpu_ram_efficient_loading,
        "fsdp_offload_params": isinstance(plugin.cpu_offload, CPUOffloadPolicy),
        "fsdp_activation_checkpointing": plugin.activation_checkpointing,
    }
    for key, value in unknown.items():
        if value:
            raise UserError("is not supported", key=key, hint=f"write `{key}: false` in accelerate's file")


def _wrap_by_size(plugin: FullyShardedDataParallelPlugin, network: nn.Module) -> None:
    """Name the classes that ``SIZE_BASED_WRAP`` means, which accelerate would apply to mere containers of modules too.

    A container has no forward of its own, before which its parameters could be gathered.
    """
    if plugin.auto_wrap_policy is not size_based_auto_wrap_policy:
        return
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    large = (m for m in network.modules() if sum(p.numel() for p in m.parameters()) > plugin.min_num_params)
    classes = {type(module) for module in large} - {type(network)}
    plugin.transformer_cls_names_to_wrap = sorted(
        kind.__name__ for kind in classes if not kind.__module__.startswith("torch.nn.")
    )


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _part(whole: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a tensor that every rank has whole."""
    whole = whole.to(like.device)
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def _local(tensors: Iterable[Tensor]) -> int:
    return sum((t.to_local() if isinstance(t, DTensor) else t).numel() for t in tensors)
