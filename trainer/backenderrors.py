"""Errors of collective operations, which fail where another rank has ended."""

import torch

_BACKENDS = ("gloo", "nccl")


def is_backend_error(error: BaseException) -> bool:
    """Whether an exception is a collective operation's."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error).lower() for name in _BACKENDS)
