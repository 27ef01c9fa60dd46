"""The registry of networks, and how one is built from its description, with or without pretrained weights.

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
from trainer.extension import find_class
from trainer.kinds import learning
from trainer.model.architecture import Architecture
from trainer.model.base import Network, Predictions
from trainer.model.dpt import DPT
from trainer.model.fpn import FPN
from trainer.model.mtinet import MTINet
from trainer.model.pretrained import load_pretrained, match_normalisation, pretrained_branches

__all__ = [
    "NETWORKS",
    "Architecture",
    "Network",
    "Predictions",
    "architecture_of",
    "build",
    "check_trusted",
    "network_of",
]

NETWORKS: dict[str, type[Network]] = {"mtinet": MTINet, "fpn": FPN, "dpt": DPT}


def network_of(architecture: Architecture) -> Network:
    """Create the network of a description, randomly initialised.

    Raises:
        UserError: when there is no network of its name, or the network cannot be made with these options.
    """
    return class_of(architecture)(architecture)


def class_of(architecture: Architecture) -> type[Network]:
    """Return the class of a description's network.

    Raises:
        UserError: when there is no network of its name.
    """
    return find_class(architecture.name, NETWORKS, Network, "name")  # type: ignore[type-abstract]


def architecture_of(model: nn.Module) -> Architecture | None:
    """Return the description from which a network can be built again, or None where it has none.

    For a custom class that was made in Python under the name of another network, the description names that class.
    """
    if not isinstance(model, Network):
        return getattr(model, "architecture", None)
    kind, architecture = type(model), model.architecture
    if ":" in architecture.name or NETWORKS.get(architecture.name) is kind:
        return architecture
    return replace(architecture, name=f"{kind.__module__}:{kind.__qualname__}")


def check_trusted(architecture: Architecture, name: str | None) -> None:
    """Make sure that a description that came with weights does not import a module that the user did not name.

    Args:
        architecture: the description stored beside the weights.
        name: the network's name according to a configuration or a command.

    Raises:
        UserError: when the description names another class, of a module that is not imported yet.
    """
    module, colon, _ = architecture.name.partition(":")
    if colon and architecture.name != name and module not in sys.modules:
        message = f"these weights are of {architecture.name}, which no configuration or option names"
        hint = f"if that is a class of yours: `import {module}` first, or give --network {architecture.name}"
        raise UserError(message, key="model", hint=hint)


def build(
    architecture: Architecture, pretrained: bool | str | Path = False, pretrained_inputs: Sequence[str] | None = None
) -> Network:
    """Build a network: its backbones from scratch or from pretrained weights, everything else from scratch.

    Random values come from torch's global generator. Predictions of a quantity start at its mean, where the
    architecture's statistics contain it.

    Args:
        architecture: the description.
        pretrained: see :func:`trainer.model.pretrained.load_pretrained`. The network's ``architecture`` then differs
            from the argument in the normalisation of RGB, which is that of the weights.
        pretrained_inputs: the inputs whose backbones start from pretrained weights; None for all.

    Raises:
        UserError: see :func:`network_of`; or when weights cannot be loaded, or no backbone would start from them.
    """
    branches = class_of(architecture).branches(architecture)
    architecture = match_normalisation(architecture, pretrained, pretrained_inputs, branches)
    network = network_of(architecture)
    if pretrained:
        names = pretrained_branches(branches, pretrained_inputs)
        if not names and pretrained_inputs is not None:
            message = f"no backbone of {architecture.name} reads {' or '.join(pretrained_inputs)}"
            hint = f"name some of its inputs ({', '.join(architecture.inputs)}), or set pretrained=false"
            raise UserError(message, key="pretrained_inputs", hint=hint)
        if not network.backbones.keys() >= {*names}:
            message = f"{architecture.name} has no backbone for {' and '.join(names)} that could start from weights"
            raise UserError(message, key="pretrained", hint="set it to false")
        load_pretrained([network.backbones[name] for name in names], architecture.backbone, pretrained)
    for task in architecture.tasks:
        start = learning(task).start(architecture.statistics)
        for layer in network.last_layers(task.name) if start is not None else ():
            nn.init.constant_(layer.bias, start)  # type: ignore[arg-type]
    return network
