"""Which rank this process is, as its launcher says in the environment; known before torch is imported."""

import os


def rank() -> int:
    """This process's number among all, from 0; the first one writes and speaks for the others."""
    return int(os.environ.get("RANK", "0"))


def ranks() -> int:
    """How many processes were started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def ranks_here() -> int:
    """How many of them on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
