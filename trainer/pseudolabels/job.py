"""The job of a labelling pass: what its labels follow from, and whether they are finished. Imports no torch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shards.claim import Note, differing_keys
from shards.manifest import NAME, Manifest
from trainer.experiment import Experiment
from trainer.pseudolabels.stored import is_stored
from trainer.runs import artifacts

JOB = ".label.json"


def is_labelled(experiment: Experiment) -> bool:
    """Whether all labels of an experiment's present network exist.

    Raises:
        UserError: when it has nothing to label.
    """
    _, mask = experiment.frames_to_label()
    facts = artifacts.read_exported(experiment.exported)
    finished = facts is not None and is_finished(experiment.labels, job_of(experiment, facts, mask))
    return finished and is_stored(experiment)


def soft_labels_of(experiment: Experiment) -> dict[str, dict[str, int]]:
    """Return what soft labels store of each task that gets them: the number of ``classes``, and the ``scale``."""
    options = experiment.config.label
    tasks = [task for task in experiment.targets if task.storage.distribution and options.soft]
    return {t.name: {"classes": min(options.soft, t.channels), "scale": options.soft_scale} for t in tasks}


def job_of(experiment: Experiment, facts: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """Return everything that determines the labels."""
    soft = soft_labels_of(experiment)
    optional: dict[str, Any] = {"flip": True} if experiment.config.label.flip else {}
    optional |= {"soft": soft} if soft else {}
    return optional | {
        "checkpoint": facts["sha256"],
        "manifest": experiment.manifest.sha256,
        "frames": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest(),
        "batch": experiment.config.label.batch_size,
        "precision": "fp32",
        "size": experiment.config.data.size,
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
