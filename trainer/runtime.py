"""The process a network runs in: device, precision, ranks, the signals that ask it to stop, and the loss of others."""

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env

from shards.errors import UserError
from shards.extras import need
from shards.threads import heard
from trainer.engine.base import asks
from trainer.memory import keep_freed_memory
from trainer.ranks import rank, ranks, ranks_here
from trainer.runs.status import LostRank
from trainer.shipped import resolve

_POLL = 0.5
"""Seconds between looks at whether the launcher is still there."""
_SETTINGS = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
"""Where the launcher says which JSON file has DeepSpeed's settings."""
_PATIENCE = 5.0
"""Seconds after a signal in which data may still come that a step waits for."""
_KNOWN_WARNINGS = (
    "`broadcast_buffers` is deprecated",  # accelerate knows no other name
    r"`torch\.distributed\.\w+` is deprecated",  # DeepSpeed and accelerate call them, in every step
    "FSDP2-wrapped module .* returned a view tensor",  # that nothing changes in place
)

atexit.register(gc.freeze)  # spares Python the last search for garbage among torch's objects, which takes seconds


def accelerator(precision: str, timeout: float = 600) -> Accelerator:
    """Where this process stands among its ranks, with the precision of the configuration.

    Args:
        timeout: seconds that every collective operation waits for the other ranks.

    Raises:
        UserError: for fp16 on a device that lacks it, ranks that would not hear of each other, or DeepSpeed that is
            not installed.
    """
    cuda = check_precision(precision)
    _refuse_flags(precision)
    if asks("DEEPSPEED"):
        need("accelerate launch --use_deepspeed", "deepspeed", "transformers")
        _find_settings()
    if not cuda:
        keep_freed_memory()
    started = ranks()
    here, gpus = ranks_here(), torch.cuda.device_count()
    if cuda and here > gpus:  # accelerate would give one GPU to several, which NCCL refuses in the first step
        hint = f"start {gpus} on this machine, or show the others in CUDA_VISIBLE_DEVICES"
        raise UserError(f"{here} ranks on a machine with {gpus} GPUs", key="--num_processes", hint=hint)
    gloo = not cuda and asks("DEEPSPEED")
    if not cuda and started > 1 and not gloo:
        os.environ["ACCELERATE_USE_CPU"] = "true"  # else accelerate starts ranks that each train alone
    if gloo:
        _compile_nothing()
    handlers = [
        InitProcessGroupKwargs(backend="gloo" if gloo else "nccl", timeout=timedelta(seconds=timeout)),
        DistributedDataParallelKwargs(broadcast_buffers=False),  # trainer.model.norm averages them
    ]
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    mixed = precision if precision == "fp16" else "no"  # its loss scale; the engines do bf16 (trainer.engine)
    AcceleratorState._reset_state()  # it would insist on the precision of this process's first network
    with losing_ranks():
        made = Accelerator(mixed_precision=mixed, kwargs_handlers=handlers, step_scheduler_with_optimizer=False)
    if made.num_processes != started or (started > 1 and made.distributed_type == DistributedType.NO):
        what = f"{started} processes were started, but accelerate joins {made.num_processes} ({made.distributed_type})"
        raise UserError(what, key="launch", hint="start them with `accelerate launch --multi_gpu --num_processes N`")
    if made.device.type == "cuda":  # what an earlier network of this process left cached, and counted
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(made.device)
    watch_launcher()
    return made


def check_precision(precision: str) -> bool:
    """Whether this process computes on a GPU.

    Raises:
        UserError: when it does not and the precision needs one.
    """
    cuda = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    if precision == "fp16" and not cuda:
        hint = "use train.precision=bf16 or fp32"
        raise UserError("fp16 needs a GPU", key="train.precision", hint=hint)
    return cuda


def _refuse_flags(precision: str) -> None:
    """What the launcher was told, and this trainer would do in another way or not at all.

    Raises:
        UserError: naming the option of the configuration that does it.
    """
    accepted = {
        "MIXED_PRECISION": ({"no", precision}, f"leave it out; train.precision={precision} decides"),
        "GRADIENT_ACCUMULATION_STEPS": ({"1", "auto"}, "leave it out, and set train.gradient_accumulation_steps"),
        "GRADIENT_CLIPPING": ({"none", "auto"}, "leave it out, and set train.max_grad_norm"),
        "DYNAMO_BACKEND": ({"no"}, "leave it out, and set train.compile=true"),
        "USE_MEGATRON_LM": ({"false"}, "use one of configs/engine"),
    }
    for name, (values, hint) in accepted.items():
        given = os.environ.get(f"ACCELERATE_{name}")
        if given is not None and given.lower() not in values:
            key = f"accelerate launch --{name.lower()}"
            raise UserError(f"{given} is not what the run does", key=key, hint=hint)


def _find_settings() -> None:
    """Have accelerate find the JSON file that a shipped ``engine/zeroN.yaml`` names as it stands in a clone."""
    name = os.environ.get(_SETTINGS)
    if name and (path := resolve(name)).exists():
        os.environ[_SETTINGS] = str(path)


def _compile_nothing() -> None:
    """Have DeepSpeed do without its shared-memory kernels for CPUs, which serve inference: no training calls them.

    It would compile them in its start, and in every later start hold a lock file while it finds them up to date. Nobody
    owns that file: a process that is killed meanwhile leaves it, and all that start after it wait for it without end.
    """
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def queued(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of this machine's memory on its way to a device: nothing waits for what the device does before."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def device_name(device: torch.device) -> str:
    """What computes there: GPUs of two kinds differ in the last bits."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def losing_ranks() -> Iterator[None]:
    """Turns what a backend says of a rank that is gone into one line.

    Raises:
        LostRank: when another rank ended, or did not come to a collective operation in time.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        backend = isinstance(error, torch.distributed.DistError) or "gloo" in text.lower() or "NCCL" in text
        if not backend:
            raise
        said = text.split("\nException raised from")[0]  # what follows are addresses in libraries
        why = "; ".join(line.strip() for line in said.splitlines() if line.strip())
        hint = "what ended first says why; start the same command again to continue"
        raise LostRank(f"rank {rank()}: another rank ended or does not answer ({why}); {hint}") from error


def broadcast(process: Accelerator, value: Any) -> Any:
    """The main process's value, on all ranks; an exception as a value is raised by all of them."""
    if process.num_processes > 1:
        box = [value]
        with losing_ranks():
            broadcast_object_list(box)
        value = box[0]
    if isinstance(value, Exception):
        raise value
    return value


@torch.no_grad()
def keys_of_all(micro: Sequence[Sequence[str]]) -> list[str]:
    """The keys of a global batch in position order, by micro-batch and then by rank; to be called by all ranks.

    Args:
        micro: those of this rank's micro-batches.
    """
    parts_of_ranks = gather_object([micro])
    return [key for parts in zip(*parts_of_ranks, strict=True) for part in parts for key in part]


def agree(network: torch.nn.Module, process: Accelerator) -> None:
    """Let all ranks begin with the main process's weights and buffers."""
    if process.num_processes > 1:
        for tensor in network.state_dict().values():
            sent = tensor.contiguous()
            torch.distributed.broadcast(sent, 0)
            tensor.copy_(sent)


_watching = threading.Lock()


def watch_launcher() -> None:
    """End this process when its launcher is gone, which alone would have ended it with the others.

    A launcher that is killed, or whose process group is, takes none of its ranks along; they would hold their device
    and the run's folder for as long as nobody looks.
    """
    launched = any(name in os.environ for name in ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"))
    if not launched or not _watching.acquire(blocking=False):
        return
    launcher = os.getppid()

    leaving = threading.Event()
    atexit.register(leaving.set)

    def watch() -> None:
        while os.getppid() == launcher:
            if leaving.wait(_POLL):
                return
        print(f"process {os.getpid()}: its launcher (process {launcher}) is gone; ending", file=sys.stderr, flush=True)
        for worker in multiprocessing.active_children():  # who would look for this process only every few seconds
            worker.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class StopRequest:
    """The first SIGINT, SIGTERM or SIGUSR1 asks for a stop after the step at hand; the second SIGINT stops at once.

    What the step waits for may never come, so waits for data end a few seconds after the signal
    (:mod:`shards.threads`): ranks have more of them, in which the others may still come to agree on a stop.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._heard = 0.0
        self._patience = _PATIENCE if ranks() == 1 else 3 * _PATIENCE
        self._old: dict[int, Any] = {}
        self._waits = ExitStack()

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            self._old[number] = signal.signal(number, self._ask)
        self._waits.enter_context(heard(self.overdue))
        return self

    def __exit__(self, *_: object) -> None:
        self._waits.close()
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if number == signal.SIGINT == self.signal:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal, self._heard = signal.Signals(number), time.monotonic()

    def overdue(self) -> bool:
        """Whether a stop was asked for some seconds ago."""
        return self.signal is not None and time.monotonic() - self._heard > self._patience
