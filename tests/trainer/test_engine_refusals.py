"""Settings that an engine does not support are errors, never ignored."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import DistributedType
from torch.distributed.fsdp import CPUOffloadPolicy

from shards.errors import UserError
from trainer.engine import choose
from trainer.engine.base import refuse_fp16
from trainer.engine.fsdp import _check_plugin
from trainer.engine.zero import _apply_settings
from trainer.trainstage import trainer_of

ZERO2: dict[str, Any] = {"zero_optimization": {"stage": 2}}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"optimizer": {"type": "Adam"}}, "optimizer"),
        ({"scheduler": {"type": "WarmupLR"}}, "scheduler"),
        ({"fp16": {"enabled": True}}, "fp16"),
        ({"bf16": {"enabled": True}}, "bf16"),
        ({"torch_autocast": {"enabled": True}}, "torch_autocast"),
        ({"gradient_accumulation_steps": 4}, "gradient_accumulation_steps"),
        ({"gradient_clipping": 2.0}, "gradient_clipping"),
        ({"train_batch_size": 16}, "train_batch_size"),
        ({"train_micro_batch_size_per_gpu": 16}, "train_micro_batch_size_per_gpu"),
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage"),
        ({"zero_optimization": {}}, "zero_optimization.stage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_deepspeed_settings_that_the_trainer_makes(settings, key):
    with pytest.raises(UserError, match=rf"deepspeed_config_file: {key}: .*; \w+"):
        _apply_settings(ZERO2 | settings, 1.0)


def test_deepspeed_settings_that_say_the_same_or_nothing():
    settings = ZERO2 | {"gradient_clipping": "auto", "train_batch_size": "auto", "gradient_accumulation_steps": 1}
    settings |= {"train_micro_batch_size_per_gpu": "auto", "bf16": {"enabled": False}}
    _apply_settings(settings, 0.5)
    assert settings["gradient_clipping"] == 0.5 and settings["train_micro_batch_size_per_gpu"] == 1
    assert "train_batch_size" not in settings


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"fsdp_version": 1}, "fsdp_version"),
        ({"cpu_ram_efficient_loading": True}, "fsdp_cpu_ram_efficient_loading"),
        ({"cpu_offload": CPUOffloadPolicy()}, "fsdp_offload_params"),
        ({"activation_checkpointing": True}, "fsdp_activation_checkpointing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fsdp_settings_that_are_not_supported(changed, key):
    plain = {"fsdp_version": 2, "cpu_ram_efficient_loading": False, "cpu_offload": None}
    plugin = SimpleNamespace(**plain | {"activation_checkpointing": False} | changed)
    with pytest.raises(UserError, match=rf"^{key}: .*; \w+"):
        _check_plugin(plugin)  # type: ignore[arg-type]


@pytest.mark.parametrize(("precision", "mixed"), [("fp16", "no"), ("fp32", "bf16")])
def test_precision_that_only_accelerate_would_know(precision, mixed):
    process: Any = SimpleNamespace(mixed_precision=mixed)
    name = precision if mixed == "no" else mixed
    with pytest.raises(UserError, match=rf"^precision: zero2 does not train in {name}; use"):
        refuse_fp16(process, precision, "zero2")


@pytest.mark.slow
def test_a_compiled_network_under_an_engine_that_takes_it_apart(make, monkeypatch):
    monkeypatch.setattr("trainer.updater.choose", lambda *_, **__: SimpleNamespace(sharded=True, name="zero3"))
    with pytest.raises(UserError, match=r"train\.compile: zero3 does not train a compiled network; leave it out, or"):
        trainer_of(make("plain", "train.compile=true"))


def test_an_engine_that_is_not_known(monkeypatch):
    network = torch.nn.Linear(1, 1)
    process: Any = SimpleNamespace(distributed_type=DistributedType.MEGATRON_LM)
    with pytest.raises(UserError, match=r"distributed_type: MEGATRON_LM is not an engine of this trainer; use one of"):
        choose(process, network, torch.optim.Adam(network.parameters()))
