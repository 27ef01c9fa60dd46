"""DeepSpeed's ZeRO: ranks shard the moments, from stage 2 on the gradients too, and from stage 3 the parameters.

Rajbhandari et al., "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models" (SC 2020). accelerate makes
the DeepSpeed engine from the JSON file that its YAML names. This module drives that engine, and reads and writes its
state through DeepSpeed's own functions, so that checkpoints do not depend on partitions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from shards.errors import UserError
from trainer.engine.base import Engine, Moments, refuse_fp16

_KINDS = ("exp_avg", "exp_avg_sq")


class Zero(Engine):
    """``zero1``, ``zero2`` and ``zero3``, on CPUs (gloo) and GPUs."""

    def _check(self, precision: str) -> None:
        settings = self.accelerator.state.deepspeed_plugin.deepspeed_config
        self.stage = settings.get("zero_optimization", {}).get("stage", 0)
        self.name, self.sharded = f"zero{self.stage}", self.stage == 3
        refuse_fp16(self.accelerator, precision, self.name)
        _apply_settings(settings, self.clip)

    def _prepare(self) -> None:
        # partitions are contiguous ranges of elements
        self.plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if self.sharded:
            self._unsharded = deepcopy(self.plain).cpu()
        self._parameters: dict[str, Any] = dict(self.plain.named_parameters())
        self._engine: Any
        self._engine, _ = self.accelerator.prepare(self.plain, self.optimizer)
        self.network = self._engine
        self._zero = self._engine.optimizer
        self.optimizer = self._zero.optimizer  # with offloading, one of DeepSpeed's own

    @contextmanager
    def micro_batch(self, last: bool) -> Iterator[None]:
        self._engine.set_gradient_accumulation_boundary(last)
        yield

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss * self.accelerator.num_processes)  # DeepSpeed averages over ranks

    def step(self) -> bool:
        self._engine.step()
        return self._engine.was_step_applied()

    def discard(self) -> None:
        """Clear the gradients as DeepSpeed does after an overflow."""
        self._zero.zero_grad()
        if self.stage == 3:
            self._zero.averaged_gradients = {}
            return
        for group in self._zero.averaged_gradients:
            self._zero.averaged_gradients[group] = None
        for group in self._zero.all_grad_tensors:
            self._zero.all_grad_tensors[group] = None

    def local_state(self) -> dict[str, Tensor]:
        if self.stage == 3:
            hint = "use fsdp2, zero2 or ddp, or leave it out"
            raise UserError("zero3 does not average weights", key="ema", hint=hint)
        return super().local_state()

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], moments: Moments) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, buffer in self.plain.named_buffers():
            if name in weights:
                buffer.copy_(weights[name])
        partitions = self._create_moments()
        for name, parameter in self._parameters.items():
            whole = {kind: torch.zeros_like(weights[name]) for kind in _KINDS} | moments.get(name, {})
            values = {key: tensor.to(self.accelerator.device) for key, tensor in whole.items()}
            weight = weights[name].to(self.accelerator.device)
            if self.stage == 3:
                _load_partition(parameter, weight, {kind: values[kind] for kind in _KINDS})
            else:
                for kind in _KINDS:
                    safe_set_full_optimizer_state(parameter, values[kind], kind)
                safe_set_full_fp32_param(parameter, weight)
                parameter.copy_(weight)
        steps = [entry["step"] for entry in moments.values()]
        for partition in partitions:
            self.optimizer.state[partition]["step"].fill_(max(steps, default=0.0))

    def local_elements(self) -> tuple[int, int]:
        moments = [moment for entry in self.optimizer.state.values() for moment in entry.values() if moment.dim()]
        parameters = [p.numel() for p in self._parameters.values()]  # in stage 3 of gathered ones; others are empty
        if self.stage == 3:
            parameters += [p.ds_tensor.numel() for p in self._parameters.values()]
        return sum(parameters), sum(moment.numel() for moment in moments)

    def _partitions(self) -> list[Tensor]:
        """Return the flat tensors that the optimizer steps."""
        if self.stage == 3:
            return self._zero.fp32_partitioned_groups_flat
        return [partition for group in self.optimizer.param_groups for partition in group["params"]]

    def _create_moments(self) -> list[Tensor]:
        """Create the optimizer's moments, by a step whose effect :meth:`load` overwrites, and return the partitions."""
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        partitions = self._partitions()
        group = self.optimizer.param_groups[0]
        parameters = group["params"]
        group["params"] = partitions
        for partition in partitions:
            partition.grad = torch.zeros_like(partition)
        self.optimizer.step()
        for partition in partitions:
            partition.grad = None
        group["params"] = parameters
        if self.stage < 3:
            for partition in partitions:
                lazy_init_hp_params_optimizer_state(self._parameters.values(), partition, self.optimizer.state)
        return partitions

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        from deepspeed.utils import safe_get_full_fp32_param

        for name, tensor in self.plain.state_dict().items():
            parameter = self._parameters.get(name)
            yield name, tensor if parameter is None or self.stage < 3 else safe_get_full_fp32_param(parameter)

    def _moments(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        from deepspeed.utils import safe_get_full_optimizer_state

        state = self.optimizer.state
        if not state:
            return
        step = next(iter(state.values()))["step"]
        for name, parameter in self._parameters.items():
            yield name, {"step": step} | {kind: safe_get_full_optimizer_state(parameter, kind) for kind in _KINDS}


def _apply_settings(settings: dict[str, Any], clip: float | None) -> None:
    """Set DeepSpeed's clipping from the run's configuration, and refuse settings that belong to the trainer.

    Raises:
        UserError: for such a setting.
    """
    for key in ("optimizer", "scheduler"):
        if key in settings:
            hint = "remove it; the run's configuration has train.optimizer, train.lr, train.schedule"
            raise UserError("belongs to the trainer", key=f"deepspeed_config_file: {key}", hint=hint)
    for key in ("fp16", "bf16", "torch_autocast"):
        if settings.get(key, {}).get("enabled") is True:
            hint = "remove it, and set train.precision=bf16 in the run's configuration"
            raise UserError("belongs to the trainer", key=f"deepspeed_config_file: {key}", hint=hint)
    expected = {"gradient_accumulation_steps": 1, "gradient_clipping": clip or 0.0}
    for key, value in expected.items():
        setting = settings.get(key, "auto")
        if setting not in ("auto", value):
            hint = f'write "{key}": "auto"; train.gradient_accumulation_steps and train.max_grad_norm decide'
            raise UserError(f"is {setting}, where the run has {value}", key=f"deepspeed_config_file: {key}", hint=hint)
        settings[key] = value
    for key in ("train_batch_size", "train_micro_batch_size_per_gpu"):
        if settings.pop(key, "auto") != "auto":
            hint = 'write "auto"; the run\'s configuration has train.global_batch_size'
            raise UserError("belongs to the trainer", key=f"deepspeed_config_file: {key}", hint=hint)
    settings["train_micro_batch_size_per_gpu"] = 1  # DeepSpeed uses it only for what it reports
    if settings.get("zero_optimization", {}).get("stage") not in (1, 2, 3):
        hint = "use 1, 2 or 3, or configs/engine/ddp.yaml"
        raise UserError("is not a stage of ZeRO", key="deepspeed_config_file: zero_optimization.stage", hint=hint)


def _load_partition(parameter: Any, weight: Tensor, moments: dict[str, Tensor]) -> None:
    """Load this rank's partition of a parameter of stage 3, and of its moments.

    DeepSpeed's functions for whole values fail where a parameter does not divide by the number of ranks. So each whole
    value is written into the gathered parameter, and the partition that DeepSpeed makes of it is what is stored.
    """
    from deepspeed.runtime.zero import GatheredParameters
    from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

    def partition(value: Tensor) -> Tensor:
        with GatheredParameters([parameter], modifier_rank=0):
            parameter.data.copy_(value)
        return parameter.ds_tensor

    for kind, moment in moments.items():
        safe_set_local_optimizer_state(parameter, partition(moment), kind)
    safe_set_local_fp32_param(parameter, partition(weight))
