"""The rank of this process, as its launcher sets it in the environment; available before torch is imported."""

import os


def rank() -> int:
    """Return this process's number among all, from 0; rank 0 writes files and prints for all."""
    return int(os.environ.get("RANK", "0"))


def ranks() -> int:
    """Return the number of processes that were started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def ranks_here() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
