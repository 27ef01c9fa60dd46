"""The settings that a run from Python was begun with, so that a run with others does not continue in its folder.

Runs of configuration files use :mod:`trainer.runs.folder` for that.
"""

import difflib
import hashlib
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.claim import Note, differing_keys
from shards.errors import UserError
from shards.origin import Origin
from shards.owncode import name_of
from trainer.option import check_values, names
from trainer.sections import Train

if TYPE_CHECKING:
    from trainer.trainer import Trainer

NAME = "settings.json"
_MAY_CHANGE = names(Train, lambda facts: not facts.decides)
_HASHED = {
    "frames": "was begun with other samples",
    "labels": "was begun with other labels of its samples",
    "label_shards": "was begun with other pseudo-labels",
    "manifest": "was begun with another data set",
}
"""What to say where the values are hashes."""
_ADDED = (
    *("labels", "label_shards", "model", "weighting"),
    *("holes", "shuffle_window", "data_seed", "norm", "loss_cells", "loss_offsets", "loss_class"),
    "optimizer_group",
)
"""Settings that runs of earlier versions did not store; whatever they are, such a run continues."""


def with_options(train: Train, options: dict[str, Any]) -> Train:
    """Return the options of optimisation with some of them replaced.

    Raises:
        UserError: for an unknown option, a value that it cannot have, or ``epochs`` beside ``steps``.
    """
    option_names = [field.name for field in fields(Train)]
    for name in options:
        if name not in option_names:
            near = difflib.get_close_matches(name, option_names, 1, cutoff=0.3)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(option_names)}"
            raise UserError("is not an option of training", key=name, hint=hint)
    train = replace(train, **options)
    check_values(Train, vars(train))
    if "epochs" in options and train.steps is not None:
        raise UserError(f"steps={train.steps} decides", key="epochs", hint="leave epochs out, or give steps=None")
    return train


def claim(trainer: "Trainer") -> None:
    """Store a run's settings, or check that it was begun with the same.

    Raises:
        UserError: when the folder holds a run with other settings, naming the first difference.
    """
    note, new = Note(trainer.out / NAME, "delete the folder"), _settings(trainer)
    old = note.read() if any(trainer.checkpointer.folder.glob("[!.]*")) else None
    if old is not None:
        old = {name: new[name] for name in _ADDED if name not in old} | old
        former = {name: labels.readers.manifest.sha256 for name, labels in trainer.data.frames.label_shards.items()}
        if old["label_shards"] == former:  # as earlier versions stored it
            old["label_shards"] = new["label_shards"]
    if old is not None and (keys := sorted(differing_keys(old, new))):
        key, hint = keys[0], "give another out, or delete this one"
        if {*keys} <= {"steps", "epochs"}:
            hint = "a run keeps its length, since its learning rates follow from it: give another out for a longer one"
        message = _HASHED.get(key, f"holds a run with {old.get(key)!r}, not {new.get(key)!r}")
        raise UserError(message, file=trainer.out, key=key, hint=hint)
    if old is None and trainer.main:
        note.write(new)


def _settings(trainer: "Trainer") -> dict[str, Any]:
    data, updater, loss = trainer.data, trainer.updater, trainer.updater.criterion
    visible = [np.packbits(data.frames.visible[task.name] & data.mask).tobytes() for task in data.tasks]
    options = {key: value for key, value in asdict(trainer.options).items() if key not in _MAY_CHANGE}
    network, group = trainer.architecture, updater.engine.optimizer.param_groups[0]
    return {
        **options,
        "seed": trainer.seed,
        "inputs": trainer.inputs,
        "tasks": trainer.tasks,
        "network": network and network.to_json(),
        "model": name_of(updater.engine.plain),
        "weighting": name_of(updater.weighting) if updater.weighting else None,
        "loss": {"weights": list(loss.weights), "normalise": loss.normalise, "deep": loss.deep},
        "loss_class": None if Origin.of_object(loss).shipped else name_of(loss),
        "manifest": data.frames.manifest.sha256,
        "frames": hashlib.sha256(data.mask.tobytes()).hexdigest(),
        "labels": hashlib.sha256(b"".join(visible)).hexdigest(),
        "label_shards": {name: labels.readers.manifest.identity for name, labels in data.frames.label_shards.items()},
        "pseudo_labels": {name: str(labels.keep) for name, labels in data.frames.label_shards.items()},
        "size": data.size and list(data.size),
        "crop": data.crop and list(data.crop),
        "pseudo_share": data.pseudo_share,
        "holes": sorted(data.frames.holes),
        "shuffle_window": data.shuffle_window,
        "data_seed": data.seed,
        "norm": updater.norm,
        "loss_cells": loss.deep_cells,
        "loss_offsets": {name: offsets.tolist() for name, offsets in sorted(loss.offsets.items())},
        "optimizer_group": {name: group[name] for name in ("betas", "eps", "weight_decay") if name in group},
        "augment": {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(data.augment).items()
        },
    }
