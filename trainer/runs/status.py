"""How a run's last start ended, for scripts: a launcher's exit status says only that something did.

``status.json`` in the run's folder::

    {"stage": "train", "state": "interrupted", "why": "stopped at step 70 by SIGUSR1; ...", "launch": "8f3a...",
     "host": "node3", "process": 4711, "ranks": 2, "job": "123", "began": "2026-01-31T12:00:00+00:00", "ended": "..."}

``state`` is one of ``running`` (or killed while it ran), ``finished``, ``interrupted`` (start the same command
again), ``failed`` (again would fail again: see ``why``), and ``crashed`` (nobody foresaw it: again may do better, as
after a fault of a device or of a network disk).
"""

import errno
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shards.atomic import read_json, write_json
from shards.errors import UserError
from trainer.ranks import rank, ranks

NAME = "status.json"
RUNNING, FINISHED, INTERRUPTED, FAILED, CRASHED = "running", "finished", "interrupted", "failed", "crashed"


class Interrupted(Exception):
    """A signal asked the run to stop; it can be continued."""


class LostRank(Exception):
    """Another rank has ended or cannot be reached; the run can be continued."""


def new_launch() -> str:
    """A name for a launch; all its ranks are to have the same."""
    return secrets.token_hex(8)


@contextmanager
def recorded(folder: Path, stage: str, launch: str) -> Iterator[None]:
    """Notes the start of a stage and how it ends: the first rank, or whichever fails. The note is the newest launch's;
    one that ends after it, such as a process that slept while another took the run over, leaves it alone.

    Args:
        launch: :func:`new_launch`, shared by all ranks.
    """
    first = rank() == 0
    entry = _entry(stage, launch)

    def end(state: str, why: object = None) -> None:
        note = read(folder)
        # a rank that failed has said so before the others could miss it
        if note.get("launch") == launch and note.get("state") == RUNNING:
            write_json(folder / NAME, entry | {"state": state, "why": why and str(why), "ended": _now()})

    if first:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / NAME, entry)
    try:
        yield
    except (Interrupted, LostRank, KeyboardInterrupt) as error:
        if first:
            end(INTERRUPTED, str(error) or type(error).__name__)
        raise
    except BaseException as error:
        with suppress(UserError):  # a full disk, which is what is being told already
            why = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            end(FAILED if _curable(error) else CRASHED, why)
        raise
    if first:
        end(FINISHED)


def already_finished(folder: Path, stage: str) -> None:
    """Notes that a stage had nothing left to do, whatever its last start said of its end."""
    if rank() == 0 and read(folder).get("state") != FINISHED:
        write_json(folder / NAME, _entry(stage, new_launch()) | {"state": FINISHED, "ended": _now()})


def _entry(stage: str, launch: str) -> dict[str, Any]:
    return {
        "stage": stage,
        "state": RUNNING,
        "why": None,
        "launch": launch,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "ranks": ranks(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "began": _now(),
        "ended": None,
    }


def _curable(error: BaseException) -> bool:
    """Whether it takes the user to hint it."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in codes)


def read(folder: Path) -> dict[str, Any]:
    """What ``status.json`` says; nothing where there is none."""
    path = folder / NAME
    return read_json(path, "delete it") if path.exists() else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
