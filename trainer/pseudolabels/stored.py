"""``label.store``: a copy of a teacher's labels in a store, complete or not at all."""

from typing import Any

from shards.errors import UserError
from shards.manifest import NAME, Manifest
from shards.manifestfile import identity_of
from shards.publish import publish, published
from shards.store import redact
from trainer.configfile import to_dict
from trainer.experiment import TRAIN, Experiment
from trainer.runs.lease import hold_lease

_HINT = "delete what is there, or set another label.store"


def check_store(experiment: Experiment) -> bool:
    """Check, before there are labels, that ``label.store`` can take them.

    Returns:
        Whether it has the labels that the run's folder holds, or is not set.

    Raises:
        UserError: when it cannot be read, is of a kind that is never written, or holds other labels.
    """
    store = experiment.label_store
    if store is None:
        return True
    store.check_writable()
    manifest, path = published(store), experiment.labels / NAME
    if manifest is not None and not (path.exists() and identity_of(path.read_bytes()) == identity_of(manifest)):
        raise UserError("holds other labels", file=store, key="label.store", hint=_HINT)
    return manifest is not None


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
        publish(folder, store, files, _HINT)


def is_stored(experiment: Experiment) -> bool:
    """Whether ``label.store`` has the finished labels, or is not set."""
    store = experiment.label_store
    if store is None:
        return True
    manifest = published(store)
    return manifest is not None and identity_of(manifest) == identity_of((experiment.labels / NAME).read_bytes())


def redacted_config(experiment: Experiment) -> dict[str, Any]:
    """Return the configuration without the secrets of URLs, since it is stored with the labels."""
    config = to_dict(experiment.config)
    config["data"]["path"] = redact(config["data"]["path"])
    if config["label"]["store"] is not None:
        config["label"]["store"] = redact(config["label"]["store"])
    return config
