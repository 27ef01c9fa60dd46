"""What decides which network an option's value stands for, without torch: the version of the definition and its widths.

Options came later than the runs that did without them. A default that does something else than those runs did is
told apart by ``model.version``: what version 1 stands for is said here, once, for whoever reads old runs.
"""

from typing import Any

VERSION = 2
"""Version of the definition of networks. In version 1, feature propagation masked the shared feature rather than the
tasks' own (:mod:`trainer.model.propagation`)."""
HRNET_W18_WIDTHS = (18, 36, 72, 144)
"""Channels of HRNet-w18's four scales, finest first: the widths that MTI-Net's modules were designed for."""


def first_networks(tasks: int) -> dict[str, Any]:
    """The options of ``model`` that networks of version 1 had without their being options.

    Args:
        tasks: how many the network predicts.
    """
    return {"version": 1, "decoder": "mti" if tasks > 1 else "heads", "widths": None}
