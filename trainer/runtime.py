"""The process a network runs in: device, precision, ranks, and the signals that ask it to stop."""

import os
import signal
from typing import Any

import torch
from accelerate import Accelerator, DistributedType, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

from shards.errors import UserError


def accelerator(precision: str) -> Accelerator:
    """Where this process stands among its ranks, with the precision of the configuration.

    Raises:
        UserError: for fp16 on a device that lacks it, or ranks that would not hear of each other.
    """
    cuda = torch.cuda.is_available()
    if precision == "fp16" and not cuda:
        cure = "use train.precision=bf16 or fp32"
        raise UserError("fp16 needs a GPU", key="train.precision", cure=cure)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    handlers = []
    if not cuda and os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        handlers = [InitProcessGroupKwargs(backend="gloo")]
    elif not cuda and ranks > 1:
        os.environ["ACCELERATE_USE_CPU"] = "true"  # else accelerate starts ranks that each train alone
    mixed = "no" if precision == "fp32" else precision
    AcceleratorState._reset_state()  # it would insist on the precision of this process's first network
    made = Accelerator(mixed_precision=mixed, kwargs_handlers=handlers, step_scheduler_with_optimizer=False)
    if made.num_processes != ranks or (ranks > 1 and made.distributed_type == DistributedType.NO):
        what = f"{ranks} processes were started, but accelerate joins {made.num_processes} ({made.distributed_type})"
        raise UserError(what, key="launch", cure="start them with `accelerate launch --multi_gpu --num_processes N`")
    return made


class StopRequest:
    """The first SIGINT, SIGTERM or SIGUSR1 asks for a stop after the step at hand; the second SIGINT stops at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            self._old[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


def ignore_signals(worker: int) -> None:
    """For loader workers: the training process ends them, when it has had its last batch."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
