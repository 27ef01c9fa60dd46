"""Networks without numbers: on torch's ``meta`` device, where tensors have shapes alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialisation(TorchFunctionMode):
    """Leaves out what fills tensors with first values. There are none to fill, yet on ``meta`` each such call goes
    through torch's reference implementations in Python, which takes longer than the rest of building a network."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", None) in _FILLS:
            filled = args[0] if args else kwargs["tensor"]
            if isinstance(filled, torch.Tensor) and filled.is_meta:
                return filled
        return function(*args, **(kwargs or {}))


_FILLS = frozenset(
    {
        *("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_"),
        *("xavier_uniform_", "orthogonal_", "dirac_", "eye_", "fill_", "zero_", "constant_", "ones_", "zeros_"),
    }
)
"""In ``torch.nn.init``, and of tensors."""


@contextmanager
def on_meta() -> Iterator[None]:
    """What is built within stands on ``meta``: its shapes are right, at the cost of none of the numbers."""
    with torch.device("meta"), _NoInitialisation():
        yield
