"""Claim the folder of a labelling pass for one job, with the settings that all its processes share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from shards.claim import differing_keys, is_occupied
from shards.errors import UserError
from shards.log import logger
from shards.manifest import NAME
from trainer.pseudolabels.job import is_finished, is_job, job_note
from trainer.runs.lease import hold_lease


def claim_folder(folder: Path, job: dict[str, Any], device: str, replace: bool) -> dict[str, Any]:
    """Claim a folder for a job.

    Args:
        folder: the folder of the label shards.
        job: see :func:`trainer.pseudolabels.job.job_of`.
        device: the kind of device that this process computes on.
        replace: whether labels of another job are removed.

    Returns:
        The settings of the first process that all others must share: device and threads.

    Raises:
        UserError: when it holds anything else, or labels that were begun on another kind of device.
    """
    settings = {"device": device, "threads": torch.get_num_threads()}
    hint = "give another out, or delete this one"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with hold_lease(folder.parent, folder.name):
        note = job_note(folder)
        entry = note.read()
        if entry is None and not replace and is_occupied(folder):
            raise UserError("holds other files than labels", file=folder, key="out", hint=hint)
        if entry is not None and not is_job(entry, job):
            if not replace:
                keys = differing_keys(entry.get("job", {}), job)
                content, hint = "other options", f"{hint}, or have it replaced (replace=True)"
                if not {"checkpoint", "network"}.isdisjoint(keys):
                    content = "another network"
                elif keys == ["frames"]:
                    content, keys = "other samples", []
                raise UserError(f"holds labels of {content}", file=folder, key=", ".join(keys) or None, hint=hint)
            stale = folder.with_name(f".{folder.name}.replaced.tmp")
            shutil.rmtree(stale, ignore_errors=True)
            folder.rename(stale)  # atomic: anything that another process still writes goes with it
            shutil.rmtree(stale, ignore_errors=True)
            entry = None
        folder.mkdir(exist_ok=True)
        if entry is None:
            note.write({"job": job, "made": settings})
        elif (folder / NAME).exists() and not is_finished(folder, job):
            (folder / NAME).unlink()  # it names files that are missing, and is written last again
    if entry is None:
        return settings
    if entry["made"]["device"] != device:
        message = f"was begun on {entry['made']['device']}, and this process runs on {device}: labels would differ"
        raise UserError(message, file=folder, key="device", hint="continue it on that device, or delete it")
    made: dict[str, Any] = entry["made"]
    return made


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Have torch compute with a number of threads, which affects the last bits of a label."""
    previous = torch.get_num_threads()
    if count != previous:
        logger.info(f"labels with {count} threads, as the pass was begun, and not with {previous}")
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


def check_job(folder: Path, job: dict[str, Any]) -> None:
    """Raise a UserError where the folder no longer belongs to a job."""
    entry = job_note(folder).read()
    if entry is None or not is_job(entry, job):
        message = "was deleted or given to labels of other options while this process labelled"
        raise UserError(message, file=folder, hint="start the command again if its labels are still wanted")
