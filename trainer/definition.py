"""Names, strides, version and widths that define networks, without importing torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.errors import UserError

MTINET, FPN, DPT = "mtinet", "fpn", "dpt"
"""The networks that come with Tutelage (:mod:`trainer.model.network`)."""
VERSION = 2
"""Version of the definition of networks, in ``model.json``. Networks of another version compute something else."""
STRIDES = (4, 8, 16, 32)
"""The four scales, finest first. Encoders pad frames to a multiple of the last."""
HRNET_W18_WIDTHS = (18, 36, 72, 144)
"""Channels of HRNet-w18's four scales, finest first: the widths that MTI-Net's modules were designed for."""

_MTINET_ONLY = {"decoder": "mti", "widths": HRNET_W18_WIDTHS}
"""Options that only MTI-Net has, each with its neutral value."""


def check_version(version: Any, file: str | Path | None, key: str) -> None:
    """Check that a stored network is of the version that is built here.

    Args:
        version: of the definition of networks.
        file: the file that contains it, for errors.
        key: its place in the file, likewise.

    Raises:
        UserError: for another version.
    """
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        hint = "use a newer Tutelage" if newer else "train it again under another run.root, or leave it out"
        raise UserError(f"is of a network of version {version}, not {VERSION}", file=file, key=key, hint=hint)


def find_unsupported_option(name: str, options: Mapping[str, Any]) -> tuple[str, str, Any] | None:
    """Return the first option of ``model`` that this network does not support, why, and its neutral value; None if
    there is none. A user's own network checks its options itself.

    Args:
        name: of the network.
        options: ``decoder``, ``widths`` and ``fusion``.
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
