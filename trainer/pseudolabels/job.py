"""The job of a labelling pass: what its labels follow from, and whether they are finished. Imports no torch."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shards.claim import Note, differing_keys
from shards.frames import Frames
from shards.manifest import NAME, Manifest
from shards.tasks import Task

JOB = ".label.json"


@dataclass(frozen=True)
class Teacher:
    """What identifies the network of a labelling pass.

    Args:
        sha256: hash of its weights, that of ``model.safetensors`` in an exported network; None before it is trained.
        config: what the labels' manifest records of the network, as JSON values.
        step: the optimizer step of the weights, where it is known.
        job: entries that the job has for it besides the hash, where no configuration of a run fixes them.
    """

    sha256: str | None
    config: Mapping[str, Any]
    step: int | None = None
    job: Mapping[str, Any] = field(default_factory=dict)


def soft_labels_of(tasks: Sequence[Task], soft: int, soft_scale: int) -> dict[str, dict[str, int]]:
    """Return what soft labels store of each task that gets them: the number of ``classes``, and the ``scale``."""
    soft_tasks = [task for task in tasks if task.storage.distribution and soft]
    return {task.name: {"classes": min(soft, task.channels), "scale": soft_scale} for task in soft_tasks}


def job_of(
    teacher: Teacher,
    frames: Frames,
    mask: np.ndarray,
    *,
    tasks: Sequence[Task],
    size: tuple[int, int] | None,
    batch_size: int,
    flip: bool,
    soft: int,
    soft_scale: int,
) -> dict[str, Any]:
    """Return everything that determines the labels of a mask's frames, bool ``(count,)``, from the arguments of
    :func:`trainer.pseudolabels.labelling.label`."""
    soft_labels = soft_labels_of(tasks, soft, soft_scale)
    optional: dict[str, Any] = {"flip": True} if flip else {}
    if soft_labels or teacher.job:  # a run may hold labels of a version whose jobs said nothing of soft labels
        optional["soft"] = soft_labels
    return optional | {
        "checkpoint": teacher.sha256,
        **teacher.job,
        "manifest": frames.manifest.sha256,
        "frames": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest(),
        "batch": batch_size,
        "precision": "fp32",
        "size": None if size is None else "{}x{}".format(*size),
    }


def job_note(folder: Path) -> Note:
    return Note(folder / JOB, f"delete {folder}")


def is_job(note: Mapping[str, Any], job: dict[str, Any]) -> bool:
    """Whether ``.label.json`` notes a job, or the same without soft labels, as versions before these did."""
    stored, without_soft = note.get("job", {}), {key: value for key, value in job.items() if key != "soft"}
    return not differing_keys(stored, job) or not differing_keys(stored, without_soft)


def is_finished(folder: Path, job: dict[str, Any]) -> bool:
    """Whether the manifest exists, and every file that it names (a damaged one may have been deleted)."""
    entry = job_note(folder).read()
    matches = entry is not None and is_job(entry, job)
    return matches and (folder / NAME).exists() and Manifest.load(folder, kind="labels").complete()
