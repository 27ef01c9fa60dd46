"""Starting from a network that was trained before: fine-tuning on other frames, or training on with a new schedule."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from shards.errors import UserError
from trainer.model.architecture import Architecture
from trainer.runs import checkpoint

_KEY = "model.start"
_BACKBONES = "backbones."


def as_started(architecture: Architecture, start: str | Path) -> Architecture:
    """An architecture whose RGB is normalised as that of the exported network it starts from.

    Raises:
        UserError: when there is no exported network in the folder.
    """
    facts = checkpoint.exported(Path(start))
    if facts is None:
        hint = "give the checkpoints/last of a run that has finished, or the folder of an exported network"
        raise UserError("holds no exported network", file=start, key=_KEY, hint=hint)
    own = Architecture.from_json(facts["architecture"])
    return replace(architecture, rgb_mean=own.rgb_mean, rgb_std=own.rgb_std)


def start_from(network: nn.Module, start: str | Path) -> list[str]:
    """Copy every weight that an exported network has under the same name and of the same shape.

    Args:
        network: whose weights are replaced.
        start: the folder of the exported network, as ``checkpoints/last``.

    Returns:
        The layers that start anew, by name: heads of other tasks or classes, and what only this network has.

    Raises:
        UserError: when the folder holds none, or none whose backbones have the same weights.
    """
    given = checkpoint.exported_weights(Path(start))
    state = network.state_dict()
    fits = {name: given[name] for name in state if name in given and given[name].shape == state[name].shape}
    wrong = next((name for name in state if name.startswith(_BACKBONES) and name not in fits), None)
    if wrong or not fits:
        what = f"is of another network: {_difference(wrong or next(iter(state)), state, given)}"
        raise UserError(what, file=start, key=_KEY, hint="start from one with the same backbone, inputs and fusion")
    with torch.no_grad():
        for name, weight in fits.items():
            state[name].copy_(weight)
    anew = (name for name in state if name not in fits and not name.startswith("weighting."))
    return list(dict.fromkeys(name.rpartition(".")[0] for name in anew))


def _difference(name: str, state: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    if name not in given:
        return f"it has no {name}"
    return f"its {name} is {tuple(given[name].shape)}, where this network has {tuple(state[name].shape)}"
