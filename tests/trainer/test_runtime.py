"""Launcher settings that a process refuses, and which signals count."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shards.errors import UserError
from trainer.engine.plain import Plain
from trainer.model.norm import prepare_norm
from trainer.runs.status import LostRank
from trainer.runtime import make_accelerator, report_lost_ranks
from trainer.stopping import StopRequest

REPOSITORY = Path(__file__).parents[2]


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
        make_accelerator("fp32")


def test_what_the_launcher_says_by_default_is_none(monkeypatch):
    for name, value in (("MIXED_PRECISION", "no"), ("DYNAMO_BACKEND", "NO"), ("GRADIENT_ACCUMULATION_STEPS", "1")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    make_accelerator("fp32")


LAUNCHED = """
from shards.errors import UserError
from trainer.runtime import make_accelerator

try:
    print("processes:", make_accelerator("fp32").num_processes, flush=True)
except UserError as error:
    print(error, flush=True)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="accelerate starts one process per GPU")
@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        (
            "--num_processes 2",
            {},
            "accelerate launch --num_processes: accelerate started one process; give --multi_gpu",
        ),
        ("--cpu --num_processes=2", {}, '--config_file "$(tutelage config --path engine/ddp)"'),
        ("--num_processes 1", {}, "processes: 1"),
        ("--num_processes 1", {"MASTER_ADDR": "127.0.0.1"}, "processes: 1"),
    ],
)
def test_a_launch_of_several_processes_that_starts_one_is_refused(tmp_path, options, environment, expected):
    """In a real launch: the number of processes is the launcher's option, and reaches no process that it starts."""
    (tmp_path / "launched.py").write_text(LAUNCHED)
    command = [sys.executable, "-m", "accelerate.commands.launch", *options.split()]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HOME": str(tmp_path)} | environment
    launch = subprocess.run(
        [*command, str(tmp_path / "launched.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert expected in launch.stdout, launch.stderr


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--num_processes: 2 ranks on a machine with 1 GPUs; start 1 on this"):
        make_accelerator("fp32")


def test_a_gpu_that_nobody_wants_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(UserError, match=r"^precision: fp16 needs a GPU; use precision=bf16 or fp32"):
        make_accelerator("fp16")


def test_a_lost_rank_is_told_with_the_whole_reason():
    """NCCL names a place in its source first, and the cause in the lines after it."""
    message = "NCCL error in: a.cpp:77, remote error\nncclRemoteError: peer closed\n\nLast error:\nsocket gone"
    message += "\nException raised from f (most recent call first):\n#0 0x7f"
    expected = r"remote error; ncclRemoteError: peer closed; Last error:; socket gone\);"
    with pytest.raises(LostRank, match=expected), report_lost_ranks():
        raise torch.distributed.DistBackendError(message)


def test_a_step_that_fp16_skips_counts_as_none():
    """Also with a fused optimizer, which is called in any case (with a loss scale on the CPU: fp16 needs a GPU)."""
    accelerator = make_accelerator("fp32")
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    network = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
    engine = Plain(accelerator, network, optimizer, clip=1.0, precision="fp32")
    before = network.weight.detach().clone()
    engine.backward(network(torch.ones(1, 2)).sum() * float("inf"))
    assert not engine.step() and torch.equal(network.weight, before)
    engine.backward(network(torch.ones(1, 2)).sum())
    assert engine.step() and not torch.equal(network.weight, before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_batch_norm_over_ranks_needs_gpus():
    accelerator = make_accelerator("fp32")
    network = torch.nn.BatchNorm2d(3)
    assert prepare_norm(network, "sync", accelerator) is network, "one rank is all ranks"
    several = type("Process", (), {"num_processes": 2, "device": torch.device("cpu")})()
    with pytest.raises(UserError, match=r"^norm: torch synchronises batch norm on GPUs only; use"):
        prepare_norm(network, "sync", several)


def test_only_a_second_ctrl_c_ends_at_once():
    with StopRequest() as request:
        for signum in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), signum)
        assert request.signal == signal.SIGUSR1, "the first one counts"
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
