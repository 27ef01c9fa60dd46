"""Who holds a lease, as a note that other processes can check: a process of a machine, and whether it has ended."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

Holder = dict[str, Any]


def identity() -> Holder:
    """This process, as JSON values."""
    pid = os.getpid()
    me = {"host": socket.gethostname(), "pid": pid, "started": _started(pid), **_machine(), "command": sys.argv}
    return me | _life()


def describe(holder: Holder | None) -> str:
    """``process 4711 on node3``."""
    return f"process {holder['pid']} on {holder['host']}" if holder else "another process"


def ended(holder: Holder) -> bool:
    """Whether a process is known to have ended, which only processes of the same machine and container can tell."""
    here = {"host": socket.gethostname(), **_machine()}
    if here["boot"] is None or any(holder[key] != here[key] for key in here):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    started = _started(holder["pid"])
    return started is not None and started != holder["started"]


def superseded(holder: Holder) -> bool:
    """Whether a process belongs to an earlier life of the Slurm job that this one belongs to. It may live on, on a node
    that the controller has lost, but is not meant to."""
    me = _life()
    return me["job"] is not None and holder.get("job") == me["job"] and holder["restart"] < me["restart"]


def _life() -> Holder:
    """The Slurm job that this process belongs to, and how often that was restarted before."""
    return {"job": os.environ.get("SLURM_JOB_ID"), "restart": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}


def _machine() -> dict[str, str | None]:
    """The machine since it was started, and the container whose process numbers it is about."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return {"boot": boot, "pids": str(Path("/proc/self/ns/pid").readlink())}
    except OSError:  # not Linux
        return {"boot": None, "pids": None}


def _started(pid: int) -> str | None:
    """When a process was started, in ticks since the machine was; "ended" for one that only waits to be reaped."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:  # not Linux, or other users' processes are hidden
        return None
    return "ended" if state in "ZX" else fields[18]
