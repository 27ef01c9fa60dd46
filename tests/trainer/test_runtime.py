"""What a process refuses of its launcher, and which signals count."""

import os
import signal

import pytest
import torch

from shards.errors import UserError
from trainer.engine.plain import Plain
from trainer.model.norm import prepare_norm
from trainer.runs.status import LostRank
from trainer.runtime import StopRequest, accelerator, report_lost_ranks


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("MIXED_PRECISION", "bf16", r"train\.precision=fp32 decides"),
        ("GRADIENT_ACCUMULATION_STEPS", "4", r"set train\.gradient_accumulation_steps"),
        ("GRADIENT_CLIPPING", "1.0", r"set train\.max_grad_norm"),
        ("DYNAMO_BACKEND", "INDUCTOR", r"set train\.compile=true"),
        ("USE_MEGATRON_LM", "true", "use one of configs/engine"),
    ],
)
def test_what_the_launcher_was_told_in_vain_is_an_error(monkeypatch, name, value, hint):
    monkeypatch.setenv(f"ACCELERATE_{name}", value)
    with pytest.raises(UserError, match=rf"accelerate launch --{name.lower()}: {value} is not .*{hint}"):
        accelerator("fp32")


def test_what_the_launcher_says_by_default_is_none(monkeypatch):
    for name, value in (("MIXED_PRECISION", "no"), ("DYNAMO_BACKEND", "NO"), ("GRADIENT_ACCUMULATION_STEPS", "1")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator("fp32")


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--num_processes: 2 ranks on a machine with 1 GPUs; start 1 on this"):
        accelerator("fp32")


def test_a_gpu_that_nobody_wants_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(UserError, match=r"train\.precision: fp16 needs a GPU"):
        accelerator("fp16")


def test_a_lost_rank_is_told_with_the_whole_reason():
    """NCCL names a place in its source first, and the cause in the lines after it."""
    said = "NCCL error in: a.cpp:77, remote error\nncclRemoteError: peer closed\n\nLast error:\nsocket gone"
    said += "\nException raised from f (most recent call first):\n#0 0x7f"
    whole = r"remote error; ncclRemoteError: peer closed; Last error:; socket gone\);"
    with pytest.raises(LostRank, match=whole), report_lost_ranks():
        raise torch.distributed.DistBackendError(said)


def test_a_step_that_fp16_skips_counts_as_none():
    """Also with a fused optimizer, which is called all the same (with a CPU's loss scale: fp16 wants a GPU)."""
    process = accelerator("fp32")
    process.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    network = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
    engine = Plain(process, network, optimizer, clip=1.0, precision="fp32")
    before = network.weight.detach().clone()
    engine.backward(network(torch.ones(1, 2)).sum() * float("inf"))
    assert not engine.step() and torch.equal(network.weight, before)
    engine.backward(network(torch.ones(1, 2)).sum())
    assert engine.step() and not torch.equal(network.weight, before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_batch_norm_over_ranks_needs_gpus():
    process = accelerator("fp32")
    network = torch.nn.BatchNorm2d(3)
    assert prepare_norm(network, "sync", process) is network, "one rank is all ranks"
    several = type("Process", (), {"num_processes": 2, "device": torch.device("cpu")})()
    with pytest.raises(UserError, match=r"model\.norm: torch synchronises batch norm on GPUs only; use"):
        prepare_norm(network, "sync", several)


def test_only_a_second_ctrl_c_ends_at_once():
    with StopRequest() as request:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert request.signal == signal.SIGUSR1, "the first one counts"
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
