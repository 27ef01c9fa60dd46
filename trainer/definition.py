"""Names, strides, version and widths that define networks, without importing torch.

Old runs lack options that were added later. Where the default of such an option differs from what those runs did,
``model.version`` tells the two apart: the meaning of version 1 is defined here, for all code that reads old runs.
"""

from collections.abc import Mapping
from typing import Any

MTINET, FPN, DPT = "mtinet", "fpn", "dpt"
"""The networks that come with Tutelage (:mod:`trainer.model.network`)."""
VERSION = 2
"""Version of the definition of networks. In version 1, feature propagation masked the shared feature rather than the
features of each task (:mod:`trainer.model.propagation`)."""
STRIDES = (4, 8, 16, 32)
"""The four scales, finest first. Encoders pad frames to a multiple of the last."""
HRNET_W18_WIDTHS = (18, 36, 72, 144)
"""Channels of HRNet-w18's four scales, finest first: the widths that MTI-Net's modules were designed for."""

_MTINET_ONLY = {"version": VERSION, "decoder": "mti", "widths": HRNET_W18_WIDTHS}
"""Options that only MTI-Net has, each with its neutral value; first the version, on which other defaults depend."""


def find_unsupported_option(name: str, options: Mapping[str, Any]) -> tuple[str, str, Any] | None:
    """Return the first option of ``model`` that this network does not support, why, and its neutral value; None if
    there is none. A user's own network checks its options itself.

    Args:
        name: of the network.
        options: ``decoder``, ``widths``, ``version`` and ``fusion``.
    """
    if name not in (FPN, DPT):
        return None
    for key, neutral in _MTINET_ONLY.items():
        value = options[key]
        if (tuple(value) if key == "widths" and value is not None else value) != neutral:
            return key, f"is an option of mtinet alone, and the network is {name}", neutral
    if name == DPT and options["fusion"] != "add":
        return "fusion", "dpt adds the tokens of its inputs, and has no other fusion", "add"
    return None


def unused_options(name: str) -> dict[str, Any]:
    """Return the neutral values of the options of ``model`` that shape MTI-Net's decoder, for another network of
    Tutelage's; none for MTI-Net and for a user's own network."""
    return {"decoder": "mti", "widths": list(HRNET_W18_WIDTHS)} if name in (FPN, DPT) else {}


def version_1_options(tasks: int) -> dict[str, Any]:
    """Return the values of those options of ``model`` that runs of version 1 did not have, as their networks were.

    Args:
        tasks: number of tasks that the network predicts.
    """
    return {"version": 1, "decoder": "mti" if tasks > 1 else "heads", "widths": None}
