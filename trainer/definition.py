"""What decides which network an option's value stands for, without torch: names, the version of the definition, widths.

Options came later than the runs that did without them. A default that does something else than those runs did is
told apart by ``model.version``: what version 1 stands for is said here, once, for whoever reads old runs.
"""

from collections.abc import Mapping
from typing import Any

MTINET, FPN, DPT = "mtinet", "fpn", "dpt"
"""The networks that come with Tutelage (:mod:`trainer.model.network`)."""
VERSION = 2
"""Version of the definition of networks. In version 1, feature propagation masked the shared feature rather than the
tasks' own (:mod:`trainer.model.propagation`)."""
HRNET_W18_WIDTHS = (18, 36, 72, 144)
"""Channels of HRNet-w18's four scales, finest first: the widths that MTI-Net's modules were designed for."""

_MTINETS_ALONE = {"decoder": "mti", "widths": HRNET_W18_WIDTHS, "version": VERSION}
"""Options that other networks do not have, with the value that says nothing."""


def unsuited(name: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first option of ``model`` that says something which a network of this name cannot be, and why. A network of
    one's own reads its options itself.

    Args:
        name: of the network.
        options: ``decoder``, ``widths``, ``version`` and ``fusion``.
    """
    if name not in (FPN, DPT):
        return None
    for key, neutral in _MTINETS_ALONE.items():
        value = options[key]
        if (tuple(value) if key == "widths" and value is not None else value) != neutral:
            return key, f"is an option of mtinet alone, and the network is {name}"
    if name == DPT and options["fusion"] != "add":
        return "fusion", "dpt adds the tokens of its inputs, and knows no other fusion"
    return None


def first_networks(tasks: int) -> dict[str, Any]:
    """The options of ``model`` that networks of version 1 had without their being options.

    Args:
        tasks: how many the network predicts.
    """
    return {"version": 1, "decoder": "mti" if tasks > 1 else "heads", "widths": None}
