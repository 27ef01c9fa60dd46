"""``label.store``: a copy of a teacher's labels in a store, whole or not at all."""

from typing import Any

from shards.errors import UserError
from shards.manifest import NAME, Manifest
from shards.publish import publish, published
from shards.store import shown
from trainer.configfile import to_dict
from trainer.experiment import TRAIN, Experiment
from trainer.runs.lease import turn

_OTHER = "delete what is there, or set another label.store"


def check_store(experiment: Experiment) -> None:
    """Make sure, before there are labels, that ``label.store`` takes them.

    Raises:
        UserError: when it cannot be read, is never written, or holds other labels.
    """
    store = experiment.label_store
    if store is None:
        return
    store.check_writable()
    there, made = published(store), experiment.labels / NAME
    if there is not None and not (made.exists() and made.read_bytes() == there):
        raise UserError("holds other labels", file=store, key="label.store", hint=_OTHER)


def store_labels(experiment: Experiment) -> None:
    """Copy finished labels into ``label.store``, if there is one, by one process at a time.

    Raises:
        UserError: when it cannot be written, or holds other labels.
    """
    store, folder = experiment.label_store, experiment.labels
    if store is None:
        return
    with turn(folder.parent, "store"):
        shards = Manifest.load(folder, kind="labels").splits[TRAIN]
        files = [file for shard in shards for file in (shard.file, shard.index_file)]
        publish(folder, store, files, _OTHER)


def stored(experiment: Experiment) -> bool:
    """Whether ``label.store`` has the finished labels, or there is none."""
    store = experiment.label_store
    return store is None or published(store) == (experiment.labels / NAME).read_bytes()


def shown_config(experiment: Experiment) -> dict[str, Any]:
    """The configuration, without what is secret of URLs: whoever reads the labels reads it too."""
    config = to_dict(experiment.config)
    config["data"]["path"] = shown(config["data"]["path"])
    if config["label"]["store"] is not None:
        config["label"]["store"] = shown(config["label"]["store"])
    return config
