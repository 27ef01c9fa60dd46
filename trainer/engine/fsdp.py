"""Parameters, gradients and moments in shards (torch's ``fully_shard``, FSDP2), gathered layer by layer.

Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (VLDB 2023). On GPUs accelerate shards
the network as its file says. On CPUs it would ignore that file, so sharding is enabled here.
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
from trainer.engine.base import Engine, Moments, gradient_norm, refuse_fp16


class Fsdp2(Engine):
    """``fsdp2``, on CPUs (gloo) and GPUs."""

    name = "fsdp2"
    sharded = True

    def _check(self, precision: str) -> None:
        refuse_fp16(self.accelerator, precision, self.name)
        if self.accelerator.num_processes == 1:
            raise UserError("one process has nothing to shard", key="num_processes", hint="use 2 or more, or no engine")
        if self.accelerator.distributed_type != DistributedType.FSDP:
            _enable_on_cpu(self.accelerator)
        plugin = self.accelerator.state.fsdp_plugin
        _check_plugin(plugin)
        _wrap_by_size(plugin, self.plain)

    def _prepare(self) -> None:
        self.plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # all that it shards
        self._unsharded = deepcopy(self.plain).cpu()
        self.network, _ = self.accelerator.prepare(self.plain, self.optimizer)

    def micro_batch(self, last: bool) -> AbstractContextManager[None]:
        # Every micro-batch reduces its gradients: kept for the last they would be unsharded, out of `discard`'s reach.
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        (loss * self.accelerator.num_processes).backward()  # FSDP averages over ranks

    def step(self) -> bool:
        if self.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        else:
            norm = gradient_norm(self.network)
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm  # that of all ranks' shards
        finite = bool(whole.isfinite())
        if finite:
            self.optimizer.step()
        self.discard()
        return finite

    def discard(self) -> None:
        self.optimizer.zero_grad()

    def local_state(self) -> dict[str, Tensor]:
        return {
            name: tensor.to_local() if isinstance(tensor, DTensor) else tensor
            for name, tensor in self.network.state_dict().items()
        }

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], moments: Moments) -> None:
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            tensor.copy_(_shard_like(weights[name], tensor))
        self.optimizer.state.clear()
        fused = self.optimizer.param_groups[0]["fused"]
        device = self.accelerator.device if fused else "cpu"  # where the optimizer keeps its step counts
        for name, parameter in self.network.named_parameters():
            if name in moments:
                step = moments[name]["step"].to(device)
                shards = {kind: _shard_like(moments[name][kind], parameter) for kind in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[parameter] = {"step": step.clone(), **shards}

    def local_elements(self) -> tuple[int, int]:
        moments = [moment for entry in self.optimizer.state.values() for moment in entry.values() if moment.dim()]
        return _count_local(self.network.parameters()), _count_local(moments)

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, _full(tensor)) for name, tensor in self.network.state_dict().items())

    def _moments(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        for name, parameter in self.network.named_parameters():
            if entry := self.optimizer.state.get(parameter):
                yield name, {kind: _full(moment) for kind, moment in entry.items()}


def _enable_on_cpu(accelerator: Accelerator) -> None:
    """Make accelerate shard on a machine without GPUs too, by the settings of its file."""
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()  # reads what the launcher put into the environment
    accelerator.state.distributed_type = DistributedType.FSDP


def _check_plugin(plugin: FullyShardedDataParallelPlugin) -> None:
    """Raise a :class:`UserError` for settings that this engine does not support."""
    if plugin.fsdp_version != 2:
        raise UserError("only version 2 is supported", key="fsdp_version", hint="use configs/engine/fsdp2.yaml")
    unsupported = {
        "fsdp_cpu_ram_efficient_loading": plugin.cpu_ram_efficient_loading,
        "fsdp_offload_params": isinstance(plugin.cpu_offload, CPUOffloadPolicy),
        "fsdp_activation_checkpointing": plugin.activation_checkpointing,
    }
    for key, value in unsupported.items():
        if value:
            raise UserError("is not supported", key=key, hint=f"write `{key}: false` in accelerate's file")


def _wrap_by_size(plugin: FullyShardedDataParallelPlugin, network: nn.Module) -> None:
    """Wrap by class names in place of ``SIZE_BASED_WRAP``, which accelerate would apply to containers of modules too.

    A container has no forward of its own before which its parameters could be gathered.
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


def _shard_like(whole: Tensor, like: Tensor) -> Tensor:
    """Return this rank's shard of a tensor that every rank has whole."""
    whole = whole.to(like.device)
    if not isinstance(like, DTensor):
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def _count_local(tensors: Iterable[Tensor]) -> int:
    return sum((t.to_local() if isinstance(t, DTensor) else t).numel() for t in tensors)
