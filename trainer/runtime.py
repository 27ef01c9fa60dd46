"""The process a network runs in: device, precision, ranks, and the loss of other ranks."""

import atexit
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env

from shards.errors import UserError
from shards.extras import need
from trainer.backenderrors import is_backend_error
from trainer.engine.base import is_requested
from trainer.memory import keep_freed_memory
from trainer.ranks import rank, ranks, ranks_here
from trainer.runs.status import LostRank
from trainer.shipped import resolve

_POLL = 0.5
"""Seconds between checks whether the launcher still exists."""
_SETTINGS = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
"""Environment variable in which the launcher names the JSON file with DeepSpeed's settings."""
_KNOWN_WARNINGS = (
    "`broadcast_buffers` is deprecated",  # accelerate has no other name
    r"`torch\.distributed\.\w+` is deprecated",  # DeepSpeed and accelerate call them, in every step
    "FSDP2-wrapped module .* returned a view tensor",  # which is never changed in place
)


def make_accelerator(precision: str, timeout: float = 600) -> Accelerator:
    """Return accelerate's view of this process among its ranks, with a precision for training.

    Args:
        precision: ``fp32``, ``bf16`` or ``fp16``.
        timeout: seconds that every collective operation waits for the other ranks.

    Raises:
        UserError: for fp16 on a device without it, ranks that accelerate does not start or join, or a missing
            DeepSpeed.
    """
    cuda = check_precision(precision)
    _refuse_flags(precision)
    _refuse_single_process()
    if is_requested("DEEPSPEED"):
        need("accelerate launch --use_deepspeed", "deepspeed", "transformers")
        _find_settings()
    if not cuda:
        keep_freed_memory()
    started = ranks()
    local_ranks, gpus = ranks_here(), torch.cuda.device_count()
    if cuda and local_ranks > gpus:  # accelerate would give one GPU to several, which NCCL refuses in the first step
        hint = f"start {gpus} on this machine, or show the others in CUDA_VISIBLE_DEVICES"
        raise UserError(f"{local_ranks} ranks on a machine with {gpus} GPUs", key="--num_processes", hint=hint)
    gloo = not cuda and is_requested("DEEPSPEED")
    if not cuda and started > 1 and not gloo:
        os.environ["ACCELERATE_USE_CPU"] = "true"  # otherwise accelerate starts ranks that each train alone
    if gloo:
        _disable_cpu_kernels()
    handlers = [
        InitProcessGroupKwargs(backend="gloo" if gloo else "nccl", timeout=timedelta(seconds=timeout)),
        DistributedDataParallelKwargs(broadcast_buffers=False),  # trainer.model.norm averages them
    ]
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    mixed = precision if precision == "fp16" else "no"  # its loss scale; the engines do bf16 (trainer.engine)
    AcceleratorState._reset_state()  # it would insist on the precision of this process's first network
    with report_lost_ranks():
        accelerator = Accelerator(mixed_precision=mixed, kwargs_handlers=handlers, step_scheduler_with_optimizer=False)
    joined, kind = accelerator.num_processes, accelerator.distributed_type
    if joined != started or (started > 1 and kind == DistributedType.NO):
        message = f"{started} processes were started, but accelerate joins {joined} ({kind})"
        raise UserError(message, key="launch", hint="start them with `accelerate launch --multi_gpu --num_processes N`")
    if accelerator.device.type == "cuda":  # drop what an earlier network of this process left cached and counted
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    watch_launcher()
    return accelerator


def check_accelerator(accelerator: Accelerator, precision: str) -> None:
    """Check that an accelerator divides no gradient and has the precision of a training.

    Raises:
        UserError: naming the option to give to the trainer instead.
    """
    if accelerator.distributed_type == DistributedType.DEEPSPEED:  # it has settings of its own, which its engine checks
        return
    if accelerator.gradient_accumulation_steps != 1:
        message, hint = f"accumulates {accelerator.gradient_accumulation_steps} steps", "gradient_accumulation_steps"
        raise UserError(message, key="accelerator", hint=f"create it without, and give the trainer {hint}")
    if accelerator.mixed_precision != ("fp16" if precision == "fp16" else "no"):
        message = f"computes in {accelerator.mixed_precision}, where precision is {precision}"
        raise UserError(message, key="accelerator", hint="leave it out, and give the trainer precision")


@contextmanager
def inference_accelerator(accelerator: Accelerator | None) -> Iterator[Accelerator]:
    """Context with accelerate's view of this rank for evaluation and labelling: the given one, or a new one, which
    leaves precision and gradient accumulation of a program's own ``Accelerator`` as they are.

    Raises:
        UserError: as for :func:`make_accelerator`.
    """
    if accelerator is not None:
        yield accelerator
        return
    states = [AcceleratorState._shared_state, GradientState._shared_state]  # of all its objects in this process
    before = [dict(state) for state in states]
    try:
        yield make_accelerator("fp32")
    finally:
        for state, values in zip(states, before, strict=True):
            if values:
                state.clear()
                state.update(values)


def inference_precision(trained: str) -> str:
    """Return the precision of a process that evaluates and labels with a network that was trained in another: it has no
    effect on their fp32, and fp16 needs a GPU."""
    return "fp32" if trained == "fp16" and not _computes_on_gpu() else trained


def check_precision(precision: str) -> bool:
    """Check that a precision is available, and return whether this process computes on a GPU.

    Raises:
        UserError: when the precision needs a GPU and there is none.
    """
    cuda = _computes_on_gpu()
    if precision == "fp16" and not cuda:
        raise UserError("fp16 needs a GPU", key="precision", hint="use precision=bf16 or fp32")
    return cuda


def _computes_on_gpu() -> bool:
    return torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")


def _refuse_flags(precision: str) -> None:
    """Refuse flags of the launcher that the trainer would not honour.

    Raises:
        UserError: naming the option of the configuration to use instead.
    """
    accepted = {
        "MIXED_PRECISION": ({"no", precision}, f"leave it out; train.precision={precision} decides"),
        "GRADIENT_ACCUMULATION_STEPS": ({"1", "auto"}, "leave it out, and set train.gradient_accumulation_steps"),
        "GRADIENT_CLIPPING": ({"none", "auto"}, "leave it out, and set train.max_grad_norm"),
        "DYNAMO_BACKEND": ({"no"}, "leave it out, and set train.compile=true"),
        "USE_MEGATRON_LM": ({"false"}, "use one of configs/engine"),
    }
    for name, (values, hint) in accepted.items():
        value = os.environ.get(f"ACCELERATE_{name}")
        if value is not None and value.lower() not in values:
            key = f"accelerate launch --{name.lower()}"
            raise UserError(f"{value} is not what the run does", key=key, hint=hint)


def _refuse_single_process() -> None:
    """Refuse to train alone in a launch of several processes.

    Without ``--multi_gpu``, accelerate starts a single process on a machine without several GPUs, whatever
    ``--num_processes`` says. All it leaves of that number is an address at which more than one process would meet. An
    address that the launcher itself inherited says nothing.

    Raises:
        UserError: for such a launch, where the system shows the launcher's environment (Linux).
    """
    alone = "ACCELERATE_MIXED_PRECISION" in os.environ and "WORLD_SIZE" not in os.environ
    if not alone or "MASTER_ADDR" not in os.environ:
        return
    try:
        launcher = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return
    if not any(variable.startswith(b"MASTER_ADDR=") for variable in launcher):
        hint = "give --multi_gpu too (and no --cpu), which also starts processes on CPUs, or a file of Tutelage's: "
        hint += '--config_file "$(tutelage config --path engine/ddp)"'
        raise UserError("accelerate started one process", key="accelerate launch --num_processes", hint=hint)


def _find_settings() -> None:
    """Let accelerate find the JSON file that a shipped ``engine/zeroN.yaml`` names by its path in a clone."""
    name = os.environ.get(_SETTINGS)
    if name and (path := resolve(name)).exists():
        os.environ[_SETTINGS] = str(path)


def _disable_cpu_kernels() -> None:
    """Make DeepSpeed do without its shared-memory kernels for CPUs, which are for inference only.

    It would compile them when it starts, and at every later start hold a lock file while it checks that they are up to
    date. A process that is killed meanwhile leaves the lock file behind, and all later starts wait for it forever.
    """
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def copy_async(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor from host memory to a device without waiting for the work queued there."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def device_name(device: torch.device) -> str:
    """Return the hardware of a device, since GPUs of different models differ in the last bits."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def report_lost_ranks() -> Iterator[None]:
    """Context that turns a backend's errors about a missing rank into one line.

    Raises:
        LostRank: when another rank ended, or did not join a collective operation in time.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_backend_error(error):
            raise
        summary = str(error).split("\nException raised from")[0]  # what follows are addresses in libraries
        reason = "; ".join(line.strip() for line in summary.splitlines() if line.strip())
        hint = "what ended first says why; start the same command again to continue"
        raise LostRank(f"rank {rank()}: another rank ended or does not answer ({reason}); {hint}") from error


def broadcast(accelerator: Accelerator, value: Any) -> Any:
    """Return the main process's value on all ranks; if the value is an exception, all ranks raise it."""
    if accelerator.num_processes > 1:
        values = [value]
        with report_lost_ranks():
            broadcast_object_list(values)
        value = values[0]
    if isinstance(value, Exception):
        raise value
    return value


@torch.no_grad()
def gather_keys(keys: Sequence[Sequence[str]]) -> list[str]:
    """Return the keys of a global batch in position order, by micro-batch and then by rank; to be called by all ranks.

    Args:
        keys: the keys of each of this rank's micro-batches.
    """
    by_rank = gather_object([keys])
    return [key for micro_batch in zip(*by_rank, strict=True) for part in micro_batch for key in part]


def broadcast_weights(network: torch.nn.Module, accelerator: Accelerator) -> None:
    """Copy the main process's weights and buffers to all ranks."""
    if accelerator.num_processes > 1:
        for tensor in network.state_dict().values():
            buffer = tensor.contiguous()
            torch.distributed.broadcast(buffer, 0)
            tensor.copy_(buffer)


_watching = threading.Lock()


def watch_launcher() -> None:
    """End this process when its launcher is gone, which otherwise ends all ranks together.

    A launcher that is killed, by itself or with its process group, leaves its ranks running; they would occupy their
    devices and the run's folder until somebody notices.
    """
    launched = any(name in os.environ for name in ("TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"))
    if not launched or not _watching.acquire(blocking=False):
        return
    launcher = os.getppid()
    exiting = threading.Event()
    atexit.register(exiting.set)

    def watch() -> None:
        while os.getppid() == launcher:
            if exiting.wait(_POLL):
                return
        message = f"process {os.getpid()}: its launcher (process {launcher}) is gone; ending"
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - the main thread may hold a log handler's lock
        for worker in multiprocessing.active_children():  # they check for this process only every few seconds
            worker.kill()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
