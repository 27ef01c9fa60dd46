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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shards.atomic import read_json, write_json
from shards.errors import UserError
from shards.schema import from_json, to_json
from trainer.ranks import rank, ranks

NAME = "status.json"
RUNNING, FINISHED, INTERRUPTED, FAILED, CRASHED = "running", "finished", "interrupted", "failed", "crashed"


_CURE = "delete it"


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a stage's newest start stands. What has a default is not in the files of all versions.

    Args:
        stage: ``train``, ``label`` or ``evaluate``.
        state: as above.
        why: of an end that is not the usual one.
        launch: :func:`new_launch`; empty in files of before it was noted.
        host, process, ranks: of the first rank, or of the one that failed.
        job: of Slurm.
        began, ended: ISO 8601, in UTC.
    """

    stage: str
    state: str
    why: str | None = None
    launch: str = ""
    host: str = ""
    process: int | None = None
    ranks: int = 1
    job: str | None = None
    began: str = ""
    ended: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        return to_json(self)

    @classmethod
    def from_json(cls, entry: Any, file: str | Path | None = None) -> "Status":
        """What :meth:`to_json` gave, or an older version wrote.

        Raises:
            UserError: when it is something else, naming the key.
        """
        return from_json(cls, entry, "is not a status of a run", file, _CURE)


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
    begun = _begun(stage, launch)

    def end(state: str, why: str | None = None) -> None:
        note = read(folder)
        # a rank that failed has said so before the others could miss it
        if note and note.launch == launch and note.state == RUNNING:
            _write(folder, replace(begun, state=state, why=why, ended=_now()))

    if first:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, begun)
    try:
        yield
    except (Interrupted, LostRank, KeyboardInterrupt) as error:
        if first:
            end(INTERRUPTED, str(error) or type(error).__name__)
        raise
    except BaseException as error:
        with suppress(UserError):  # a full disk, which is what is being told already
            why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            end(FAILED if _curable(error) else CRASHED, why)
        raise
    if first:
        end(FINISHED)


def already_finished(folder: Path, stage: str) -> None:
    """Notes that a stage had nothing left to do, whatever its last start said of its end."""
    if rank() == 0 and ((note := read(folder)) is None or note.state != FINISHED):
        _write(folder, replace(_begun(stage, new_launch()), state=FINISHED, ended=_now()))


def _begun(stage: str, launch: str) -> Status:
    return Status(
        stage=stage,
        state=RUNNING,
        launch=launch,
        host=socket.gethostname(),
        process=os.getpid(),
        ranks=ranks(),
        job=os.environ.get("SLURM_JOB_ID"),
        began=_now(),
    )


def _write(folder: Path, status: Status) -> None:
    write_json(folder / NAME, status.to_json())


def _curable(error: BaseException) -> bool:
    """Whether it takes the user to hint it."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in codes)


def read(folder: Path) -> Status | None:
    """What ``status.json`` says; None where there is none.

    Raises:
        UserError: when it is damaged.
    """
    path = folder / NAME
    return Status.from_json(read_json(path, _CURE), path) if path.exists() else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
