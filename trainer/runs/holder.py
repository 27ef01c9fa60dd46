"""The holder of a lease: a process of a machine, described so that others can check whether it has ended."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Holder = dict[str, Any]


def identity() -> Holder:
    """Describe this process as JSON values."""
    pid = os.getpid()
    process = {"host": socket.gethostname(), "pid": pid, "started": _start_time(pid), **_machine(), "command": sys.argv}
    return process | _slurm_job()


def describe(holder: Mapping[str, Any] | None) -> str:
    """Return text such as ``process 4711 on node3``."""
    return f"process {holder['pid']} on {holder['host']}" if holder else "another process"


def has_ended(holder: Mapping[str, Any]) -> bool:
    """Whether a process is known to have ended, which only processes of the same machine and container can tell."""
    machine = {"host": socket.gethostname(), **_machine()}
    if machine["boot"] is None or any(holder.get(key) != machine[key] for key in machine):
        return False
    pid = holder.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's process
        return False
    started = _start_time(pid)
    return started is not None and started != holder.get("started")


def is_superseded(holder: Holder) -> bool:
    """Whether a process belongs to an earlier start of the Slurm job that this one belongs to. It may live on, on a
    node that the controller has lost, but is not meant to."""
    current = _slurm_job()
    return current["job"] is not None and holder.get("job") == current["job"] and holder["restart"] < current["restart"]


def _slurm_job() -> Holder:
    """Return the Slurm job that this process belongs to, and the number of its restarts."""
    return {"job": os.environ.get("SLURM_JOB_ID"), "restart": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}


def _machine() -> dict[str, str | None]:
    """Return identifiers of the machine's boot and of the container's process numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot": boot, "pids": str(Path("/proc/self/ns/pid").readlink())}
    except OSError:  # not Linux
        return {"boot": None, "pids": None}


def _start_time(pid: int) -> str | None:
    """Return a process's start time, in ticks since the machine's boot; "ended" for one that waits to be reaped."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # not Linux, or other users' processes are hidden
        return None
    return "ended" if state in "ZX" else fields[18]
