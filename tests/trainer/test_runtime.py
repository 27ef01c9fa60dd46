"""What a process refuses of its launcher, and which signals count."""

import os
import signal

import pytest
import torch

from shards.errors import UserError
from trainer.model.norm import prepare_norm
from trainer.runtime import StopRequest, accelerator


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("MIXED_PRECISION", "bf16", r"train\.precision=fp32 decides"),
        ("GRADIENT_ACCUMULATION_STEPS", "4", r"set train\.accumulation"),
        ("GRADIENT_CLIPPING", "1.0", r"set train\.clip"),
        ("DYNAMO_BACKEND", "INDUCTOR", r"set train\.compile=true"),
        ("USE_MEGATRON_LM", "true", "use one of configs/engine"),
    ],
)
def test_what_the_launcher_was_told_in_vain_is_an_error(monkeypatch, name, value, cure):
    monkeypatch.setenv(f"ACCELERATE_{name}", value)
    with pytest.raises(UserError, match=rf"accelerate launch --{name.lower()}: {value} is not .*{cure}"):
        accelerator("fp32")


def test_what_the_launcher_says_by_default_is_none(monkeypatch):
    for name, value in (("MIXED_PRECISION", "no"), ("DYNAMO_BACKEND", "NO"), ("GRADIENT_ACCUMULATION_STEPS", "1")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator("fp32")


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
