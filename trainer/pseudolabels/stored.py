"""``label.store``: a copy of a teacher's labels in a store, complete or not at all."""

from typing import Any

from shards.manifest import Manifest
from shards.publish import publish
from shards.store import redact
from trainer.configfile import to_dict
from trainer.experiment import TRAIN, Experiment
from trainer.pseudolabels.job import is_job
from trainer.runs.lease import hold_lease

HINT = "delete what is there, or set another label.store"


def stored_labels(experiment: Experiment) -> Manifest | None:
    """Return the manifest of the labels in ``label.store``; None where there are none yet, or it is not set.

    Raises:
        UserError: when the store cannot be read.
    """
    store = experiment.label_store
    return None if store is None else Manifest.find(store, kind="labels")


def is_of_job(manifest: Manifest, job: dict[str, Any]) -> bool | None:
    """Whether stored labels are those of a job (:func:`trainer.pseudolabels.job.job_of`), which has no ``checkpoint``
    before the network is trained. None where nothing differs, as far as can be known without making the labels."""
    teacher, trained = manifest.source.get("teacher", {}), job["checkpoint"] is not None
    recorded, known = teacher.get("job"), trained
    if recorded is None:  # labels of an earlier version
        hashes = {"checkpoint": teacher.get("checkpoint_sha256"), "manifest": manifest.source.get("manifest_sha256")}
        recorded, known = job | hashes, False
    if not trained:
        recorded = recorded | {"checkpoint": None}
    return (known or None) if is_job({"job": recorded}, job) else False


def store_labels(experiment: Experiment) -> None:
    """Copy finished labels into ``label.store``, if it is set, by one process at a time.

    Raises:
        UserError: when it cannot be written, or holds other labels.
    """
    store, folder = experiment.label_store, experiment.labels
    if store is None:
        return
    with hold_lease(folder.parent, "store"):
        shards = Manifest.load(folder, kind="labels").splits[TRAIN]
        files = [file for shard in shards for file in (shard.file, shard.index_file)]
        publish(folder, store, files, HINT)


def redacted_config(experiment: Experiment) -> dict[str, Any]:
    """Return the configuration without the secrets of URLs, since it is stored with the labels."""
    config = to_dict(experiment.config)
    config["data"]["path"] = redact(config["data"]["path"])
    if config["label"]["store"] is not None:
        config["label"]["store"] = redact(config["label"]["store"])
    return config
