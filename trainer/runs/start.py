"""Starting from a trained network: fine-tuning on other frames, or continued training with a new schedule."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from shards.atomic import write_json
from shards.errors import UserError
from trainer.model.architecture import Architecture
from trainer.model.checked import difference
from trainer.model.network import Network
from trainer.runs import artifacts, checkpoint

NORMALISATION = "normalisation.json"
_KEY = "model.start"
_BACKBONES = "backbones."


def store_normalisation(folder: Path, architecture: Architecture) -> None:
    """Store how a run normalises its inputs, which may follow from weights that are gone when the run continues."""
    entry = architecture.to_json()
    write_json(folder / NORMALISATION, {key: entry[key] for key in ("rgb_mean", "rgb_std", "statistics")})


def continued(folder: Path, architecture: Architecture) -> Architecture | None:
    """Return the architecture of a run that continues from a checkpoint, which needs no weights to start from; None for
    a run without a checkpoint, or of a version that did not store its normalisation.

    Args:
        folder: of the run.
        architecture: as the configuration describes it.
    """
    path = folder / NORMALISATION
    if artifacts.newest(folder / "checkpoints") is None or not path.exists():
        return None
    stored = artifacts.read_entry(path, {"rgb_mean", "rgb_std", "statistics"}, "delete it, and keep the first weights")
    statistics = {name: (values[0], values[1]) for name, values in stored["statistics"].items()}
    rgb_mean, rgb_std = tuple(stored["rgb_mean"]), tuple(stored["rgb_std"])
    return replace(architecture, rgb_mean=rgb_mean, rgb_std=rgb_std, statistics=statistics)


def match_start_normalisation(architecture: Architecture, start: str | Path) -> Architecture:
    """Return an architecture that normalises its inputs as the exported network does from which it starts: RGB, and
    quantities of the same unit.

    Raises:
        UserError: when there is no exported network in the folder.
    """
    facts = artifacts.read_exported(Path(start))
    if facts is None:
        hint = "give the checkpoints/last of a run that has finished, or the folder of an exported network"
        raise UserError("holds no exported network", file=start, key=_KEY, hint=hint)
    exported = Architecture.from_json(facts["architecture"], Path(start) / "model.json")
    statistics = dict(architecture.statistics)
    for name, task in architecture.labels.items():
        before = exported.labels.get(name)
        if (
            name in exported.inputs
            and before is not None
            and not difference(task, before)
            and name in exported.statistics
        ):
            statistics[name] = exported.statistics[name]
    return replace(architecture, rgb_mean=exported.rgb_mean, rgb_std=exported.rgb_std, statistics=statistics)


def start_from(network: Network, start: str | Path) -> list[str]:
    """Copy every weight that an exported network has with the same name and shape, except in the last layers of tasks
    whose kind, classes or unit differ.

    Args:
        network: the network whose weights are replaced.
        start: the folder of the exported network, such as ``checkpoints/last``.

    Returns:
        The names of the layers that start from scratch: heads of other tasks or classes, and layers that only this
        network has.

    Raises:
        UserError: when the folder holds no exported network, or one whose backbones have other weights.
    """
    weights = checkpoint.exported_weights(Path(start))
    state, anew = network.state_dict(), _layers_of_other_tasks(network, Path(start))
    matching = {
        name: weights[name]
        for name in state
        if name not in anew and name in weights and weights[name].shape == state[name].shape
    }
    mismatch = next((name for name in state if name.startswith(_BACKBONES) and name not in matching), None)
    if mismatch or not matching:
        message = f"is of another network: {_difference(mismatch or next(iter(state)), state, weights)}"
        raise UserError(message, file=start, key=_KEY, hint="start from one with the same backbone, inputs and fusion")
    with torch.no_grad():
        for name, weight in matching.items():
            state[name].copy_(weight)
    missing = (name for name in state if name not in matching and not name.startswith("weighting."))
    return list(dict.fromkeys(name.rpartition(".")[0] for name in missing))


def _layers_of_other_tasks(network: Network, start: Path) -> set[str]:
    """Return the names of the weights that predict tasks which the exported network knows by the same name, but with
    another kind, classes or unit."""
    facts = artifacts.read_exported(start)
    assert facts
    before = {task.name: task for task in Architecture.from_json(facts["architecture"], start / "model.json").tasks}
    others = [
        task for task in network.architecture.tasks if task.name in before and difference(task, before[task.name])
    ]
    layers = chain.from_iterable(network.last_layers(task.name) for task in others)
    weights = {id(weight) for layer in layers for weight in layer.parameters()}
    return {name for name, weight in network.named_parameters() if id(weight) in weights}


def _difference(name: str, state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    if name not in weights:
        return f"it has no {name}"
    return f"its {name} is {tuple(weights[name].shape)}, where this network has {tuple(state[name].shape)}"
