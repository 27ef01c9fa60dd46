"""How a run's last start ended, for scripts: a launcher's exit status says only that something did.

``status.json`` in the run's folder::

    {"stage": "train", "state": "to be continued", "why": "stopped at step 70 by SIGUSR1; ...", "host": "node3",
     "process": 4711, "ranks": 2, "job": "123", "began": "2026-01-31T12:00:00+00:00", "ended": "..."}

``state`` is one of ``running`` (or killed while it ran), ``finished``, ``to be continued`` (start the same command
again), and ``failed`` (again would fail again: see ``why``).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shards.atomic import read_json, write_json
from shards.errors import UserError

NAME = "status.json"
RUNNING, FINISHED, CONTINUE, FAILED = "running", "finished", "to be continued", "failed"


class Interrupted(Exception):
    """A signal asked the run to stop; it can be continued."""


class LostRank(Exception):
    """Another rank has ended or cannot be reached; the run can be continued."""


@contextmanager
def recorded(folder: Path, stage: str) -> Iterator[None]:
    """Notes the start of a stage and how it ends, first rank or whichever fails."""
    rank = int(os.environ.get("RANK", "0"))
    entry = {
        "stage": stage,
        "state": RUNNING,
        "why": None,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "ranks": int(os.environ.get("WORLD_SIZE", "1")),
        "job": os.environ.get("SLURM_JOB_ID"),
        "began": _now(),
        "ended": None,
    }
    path = folder / NAME

    def end(state: str, why: object) -> None:
        write_json(path, entry | {"state": state, "why": why and str(why), "ended": _now()})

    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, entry)
    try:
        yield
    except (Interrupted, LostRank, KeyboardInterrupt) as error:
        # a rank that failed has said so before it could be missed
        if rank == 0 and read(folder).get("state") == RUNNING:
            end(CONTINUE, str(error) or type(error).__name__)
        raise
    except BaseException as error:
        with suppress(UserError):  # a full disk, which is what is being told already
            end(FAILED, error if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
        raise
    if rank == 0:
        end(FINISHED, None)


def read(folder: Path) -> dict[str, Any]:
    """What ``status.json`` says; nothing where there is none."""
    path = folder / NAME
    return read_json(path, "delete it") if path.exists() else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
