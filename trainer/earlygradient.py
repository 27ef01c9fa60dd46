"""Sums over pixels whose gradient is computed immediately, so that no full-size tensor is kept for the backward pass.

Deep supervision upsamples the logits of every scale. For each such term, autograd keeps one tensor of the upsampled
size until the backward pass: 49 MB per frame and scale at 480×640 with 40 classes. But the backward pass only
multiplies the gradient of a sum by a number, so here the gradient is computed together with the sum and kept at the
scale's own size; full-size tensors are freed before the next scale.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_gradients(sums_of: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor]) -> Tensor:
    """Return ``sums_of(values)``, which can be differentiated once.

    Args:
        sums_of: returns ``(len(values),)``, where the i-th sum depends on the i-th value alone.
        values: of any floating type; converted to float32 for ``sums_of``, whose gradients are kept in float32.
    """
    if not torch.is_grad_enabled():
        return sums_of([value.float() for value in values])
    return _Sums.apply(sums_of, *(value.float() for value in values))


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums_of: Callable[[Sequence[Tensor]], Tensor], *values: Tensor) -> Tensor:
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in values]
            sums = sums_of(leaves)
            # the gradient of the total suffices, since no sum depends on another's value
            ctx.save_for_backward(*torch.autograd.grad(sums.sum(), leaves))
        return sums.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(factor * gradient for factor, gradient in zip(grad, ctx.saved_tensors, strict=True)))
