"""Networks without values: on torch's ``meta`` device, where tensors only have shapes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _NoInitialisation(TorchFunctionMode):
    """Skips the initialisation of tensors. On ``meta`` it has no effect, yet each such call goes through torch's
    reference implementations in Python, which takes longer than the rest of building a network."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", None) in _FILLS:
            tensor = args[0] if args else kwargs["tensor"]
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        return function(*args, **(kwargs or {}))


_FILLS = frozenset(
    {
        *("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_normal_"),
        *("xavier_uniform_", "orthogonal_", "dirac_", "eye_", "fill_", "zero_", "constant_", "ones_", "zeros_"),
    }
)
"""Names of functions of ``torch.nn.init`` and of methods of tensors."""


@contextmanager
def on_meta() -> Iterator[None]:
    """Build modules on ``meta`` inside the context: with the right shapes, without computing any values."""
    with torch.device("meta"), _NoInitialisation():
        yield
