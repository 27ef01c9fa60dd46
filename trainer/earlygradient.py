"""Sums over pixels whose gradient is taken at once, so that nothing of full size waits for the backward pass.

Deep supervision upsamples the logits of every scale. Autograd keeps one tensor of the upsampled size for each such term
until the backward pass: 49 MB a frame and scale at 480×640 with 40 classes. But the backward pass only multiplies the
gradient of a sum by a number, so here it is computed beside the sum and kept at the scale's own size; what is of full
size is freed before the next scale's turn.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_gradients(sums_of: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor]) -> Tensor:
    """``sums_of(values)``, which can be differentiated once.

    Args:
        sums_of: gives ``(len(values),)``, the i-th sum of the i-th value alone.
        values: of any floating type; ``sums_of`` sees them, and its gradients stay, in float32.
    """
    if not torch.is_grad_enabled():
        return sums_of([value.float() for value in values])
    return _Sums.apply(sums_of, *(value.float() for value in values))


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums_of: Callable[[Sequence[Tensor]], Tensor], *values: Tensor) -> Tensor:
        with torch.enable_grad():
            own = [value.detach().requires_grad_() for value in values]
            sums = sums_of(own)
            # of the sum of all: no sum depends on another's value
            ctx.save_for_backward(*torch.autograd.grad(sums.sum(), own))
        return sums.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(one * own for one, own in zip(grad, ctx.saved_tensors, strict=True)))
