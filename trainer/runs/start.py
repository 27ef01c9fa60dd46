"""Starting from a trained network: fine-tuning on other frames, or continued training with a new schedule."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from shards.errors import UserError
from trainer.model.architecture import Architecture
from trainer.runs import artifacts, checkpoint

_KEY = "model.start"
_BACKBONES = "backbones."


def match_start_normalisation(architecture: Architecture, start: str | Path) -> Architecture:
    """Return an architecture with the RGB normalisation of the exported network that it starts from.

    Raises:
        UserError: when there is no exported network in the folder.
    """
    facts = artifacts.read_exported(Path(start))
    if facts is None:
        hint = "give the checkpoints/last of a run that has finished, or the folder of an exported network"
        raise UserError("holds no exported network", file=start, key=_KEY, hint=hint)
    exported = Architecture.from_json(facts["architecture"])
    return replace(architecture, rgb_mean=exported.rgb_mean, rgb_std=exported.rgb_std)


def start_from(network: nn.Module, start: str | Path) -> list[str]:
    """Copy every weight that an exported network has with the same name and shape.

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
    state = network.state_dict()
    matching = {name: weights[name] for name in state if name in weights and weights[name].shape == state[name].shape}
    mismatch = next((name for name in state if name.startswith(_BACKBONES) and name not in matching), None)
    if mismatch or not matching:
        message = f"is of another network: {_difference(mismatch or next(iter(state)), state, weights)}"
        raise UserError(message, file=start, key=_KEY, hint="start from one with the same backbone, inputs and fusion")
    with torch.no_grad():
        for name, weight in matching.items():
            state[name].copy_(weight)
    missing = (name for name in state if name not in matching and not name.startswith("weighting."))
    return list(dict.fromkeys(name.rpartition(".")[0] for name in missing))


def _difference(name: str, state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    if name not in weights:
        return f"it has no {name}"
    return f"its {name} is {tuple(weights[name].shape)}, where this network has {tuple(state[name].shape)}"
