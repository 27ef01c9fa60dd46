"""How a run's last start ended, for scripts: a launcher's exit status only says whether it failed.

``status.json`` in the run's folder::

    {"stage": "train", "state": "interrupted", "why": "stopped at step 70 by SIGUSR1; ...", "launch": "8f3a...",
     "host": "node3", "process": 4711, "ranks": 2, "job": "123", "began": "2026-01-31T12:00:00+00:00", "ended": "..."}

``state`` is one of ``running`` (or killed while it ran, which :func:`current` tells on the same machine), ``finished``,
``interrupted`` (start the same command again), ``failed`` (the same command would fail again: see ``why``), and
``crashed`` (an unexpected error: the same command may succeed, for example after a fault of a device or of a network
disk).
"""

import errno
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shards.atomic import read_json, write_json
from shards.errors import UserError
from shards.schema import from_json, omit_default, to_json
from trainer.pipeline import LABEL
from trainer.ranks import rank, ranks
from trainer.runs.holder import describe, has_ended, identity

NAME = "status.json"
RUNNING, FINISHED, INTERRUPTED, FAILED, CRASHED = "running", "finished", "interrupted", "failed", "crashed"
PENDING, OTHER, OTHER_DATA = "pending", "other settings", "other data"
"""States of which there is no file: a stage that was never started, and one whose folder holds a run with another
configuration, or on another data set than there is now."""

_HINT = "delete it"


@dataclass(frozen=True, kw_only=True)
class Status:
    """The status of a stage's newest start. Fields with a default are missing from files of some versions.

    Args:
        stage: ``train``, ``label`` or ``evaluate``.
        state: as above.
        why: the reason of an end that is not the usual one.
        launch: :func:`new_launch`; empty in files of versions that did not store it.
        host, process, ranks: those of the first rank, or of the rank that failed.
        job: the Slurm job.
        began, ended: ISO 8601, in UTC.
        holder: the process of a stage that runs (:mod:`trainer.runs.holder`), by which :func:`current` notices a kill.
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
    holder: Mapping[str, Any] | None = omit_default(None)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return to_json(self)

    @classmethod
    def from_json(cls, entry: Any, file: str | Path | None = None) -> "Status":
        """Return the status that :meth:`to_json` or an older version stored.

        Raises:
            UserError: when the content is invalid, naming the key.
        """
        return from_json(cls, entry, "is not a status of a run", file, _HINT)


class Interrupted(Exception):
    """A signal asked the run to stop; it can be continued."""


class LostRank(Exception):
    """Another rank has ended or cannot be reached; the run can be continued."""


def new_launch() -> str:
    """Return a random name for a launch, which all its ranks must share."""
    return secrets.token_hex(8)


@contextmanager
def record_stage(folder: Path, stage: str, launch: str) -> Iterator[None]:
    """Record the start of a stage and how it ends, by the first rank or the rank that fails. The file belongs to the
    newest launch: an older one that ends later, after another process took the run over, does not change it.

    Args:
        launch: :func:`new_launch`, shared by all ranks.
    """
    first = rank() == 0
    running = _running(stage, launch)

    def end(state: str, why: str | None = None) -> None:
        status = read(folder)
        # a rank that failed has recorded it before the others could notice its loss
        if status and status.launch == launch and status.state == RUNNING:
            _write(folder, replace(running, state=state, why=why, ended=_now(), holder=None))

    if first:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, running)
    try:
        yield
    except (Interrupted, LostRank, KeyboardInterrupt) as error:
        if first:
            end(INTERRUPTED, str(error) or type(error).__name__)
        raise
    except BaseException as error:
        with suppress(UserError):  # such as a full disk, which the raised error reports already
            why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            end(FAILED if _needs_user(error) else CRASHED, why)
        raise
    if first:
        end(FINISHED)


def mark_finished(folder: Path, stage: str) -> None:
    """Record that a stage had nothing left to do, however its last start ended."""
    if rank() == 0 and ((status := read(folder)) is None or status.state != FINISHED):
        _write(folder, replace(_running(stage, new_launch()), state=FINISHED, ended=_now(), holder=None))


def _running(stage: str, launch: str) -> Status:
    return Status(
        stage=stage,
        state=RUNNING,
        launch=launch,
        host=socket.gethostname(),
        process=os.getpid(),
        ranks=ranks(),
        job=os.environ.get("SLURM_JOB_ID"),
        began=_now(),
        holder=identity(),
    )


def _write(folder: Path, status: Status) -> None:
    write_json(folder / NAME, status.to_json())


def _needs_user(error: BaseException) -> bool:
    """Whether only the user can resolve an error."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in codes)


def read(folder: Path) -> Status | None:
    """Return the content of ``status.json``, or None where there is none.

    Raises:
        UserError: when it is damaged.
    """
    path = folder / NAME
    return Status.from_json(read_json(path, _HINT), path) if path.exists() else None


def current(folder: Path) -> Status | None:
    """Return what :func:`read` does, but ``interrupted`` in place of ``running`` where the process is known to be gone:
    it was killed, which only its own machine can tell. Of launches that label together, the file names the newest one,
    whose end says nothing about the others.

    Raises:
        UserError: when the file is damaged.
    """
    status = read(folder)
    if status is None or status.state != RUNNING or status.stage == LABEL:
        return status
    if status.holder is None or not has_ended(status.holder):
        return status
    if (now := read(folder)) != status:  # it recorded its end meanwhile
        return now
    return replace(status, state=INTERRUPTED, why=f"killed: {describe(status.holder)} is gone")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
