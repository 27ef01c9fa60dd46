"""The networks by name, and how one is built from its description, with or without weights to start from.

============  =================================================  =======================================
``name``      decoder                                            backbones
============  =================================================  =======================================
``mtinet``    :mod:`trainer.model.mtinet`: four scales, tasks    any with features at strides 4 to 32, one
              read each other                                    for each input
``fpn``       :mod:`trainer.model.fpn`: light, tasks share a     the same
              feature pyramid
``dpt``       :mod:`trainer.model.dpt`: maps of tokens, fused   a vision transformer, one for all inputs
              from coarse to fine
``M:C``       class C of module M, derived from                  its own
              :class:`trainer.model.base.Network`
============  =================================================  =======================================
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from shards.errors import UserError
from trainer.extension import named
from trainer.kinds import learning
from trainer.model.architecture import Architecture
from trainer.model.base import Network, Predictions
from trainer.model.dpt import DPT
from trainer.model.fpn import FPN
from trainer.model.mtinet import MTINet
from trainer.model.pretrained import load_pretrained, normalised, pretrained_branches

__all__ = ["NETWORKS", "Architecture", "Network", "Predictions", "build", "check_trusted", "described", "network_of"]

NETWORKS: dict[str, type[Network]] = {"mtinet": MTINet, "fpn": FPN, "dpt": DPT}


def network_of(architecture: Architecture) -> Network:
    """The network that a description stands for, randomly initialised.

    Raises:
        UserError: when there is none of its name, or it cannot be made with these options.
    """
    return class_of(architecture)(architecture)


def class_of(architecture: Architecture) -> type[Network]:
    """The class of the network that a description stands for.

    Raises:
        UserError: when there is none of its name.
    """
    return named(architecture.name, NETWORKS, Network, "model.name")  # type: ignore[type-abstract]


def described(model: nn.Module) -> Architecture | None:
    """The description from which a network can be built again, and None of one that has none.

    Of a class of your own that was made in Python with the name of another network, it names that class.
    """
    if not isinstance(model, Network):
        return getattr(model, "architecture", None)
    kind, architecture = type(model), model.architecture
    if ":" in architecture.name or NETWORKS.get(architecture.name) is kind:
        return architecture
    return replace(architecture, name=f"{kind.__module__}:{kind.__qualname__}")


def check_trusted(architecture: Architecture, name: str | None) -> None:
    """Make sure that no description which came with weights has a module imported that nobody here named.

    Args:
        architecture: from beside the weights.
        name: the network that a configuration or a command says it is.

    Raises:
        UserError: when it is of another class of a module that has not been imported yet.
    """
    module, colon, _ = architecture.name.partition(":")
    if colon and architecture.name != name and module not in sys.modules:
        what = f"these weights want {architecture.name}, which nothing here names"
        hint = f"if that is a class of yours: `import {module}` first, or give --network {architecture.name}"
        raise UserError(what, key="model.name", hint=hint)


def build(
    architecture: Architecture, pretrained: bool | str | Path = False, pretrained_inputs: Sequence[str] | None = None
) -> Network:
    """A network, its backbones from scratch or from given weights, all the rest from scratch.

    Random values come from torch's global generator. Predictions of a quantity start at its mean, where the
    architecture's statistics know it.

    Args:
        architecture: what to build.
        pretrained: see :func:`trainer.model.pretrained.load_pretrained`. The network's own architecture is then the
            given one with RGB normalised as those weights want it.
        pretrained_inputs: the inputs whose backbones start from them; None for all.

    Raises:
        UserError: see :func:`network_of`; or when weights cannot be had, or the network has nothing to load them into.
    """
    branches = class_of(architecture).branches(architecture)
    architecture = normalised(architecture, pretrained, pretrained_inputs, branches)
    network = network_of(architecture)
    if pretrained:
        started = pretrained_branches(branches, pretrained_inputs)
        if not network.backbones.keys() >= {*started}:
            what = f"{architecture.name} has no backbone for {' and '.join(started)} that could start from weights"
            raise UserError(what, key="model.pretrained", hint="set it to false")
        load_pretrained([network.backbones[branch] for branch in started], architecture.backbone, pretrained)
    for task in architecture.tasks:
        start = learning(task).start(architecture.statistics)
        for layer in network.last_layers(task.name) if start is not None else ():
            nn.init.constant_(layer.bias, start)  # type: ignore[arg-type]
    return network
