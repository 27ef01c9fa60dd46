"""An exponential moving average of a network's weights, used in their place for evaluation, labelling and export.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); with a fixed decay as in Tarvainen
and Valpola, "Mean teachers are better role models" (NeurIPS 2017).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def decay_of(step: int, decay: float) -> float:
    """Return the decay at step ``step`` (from 0): smaller at the start, so that random initial weights are forgotten.
    It depends on the step alone, so that a run that continues needs no further state."""
    return min(decay, (1 + step) / (10 + step))


class AveragedWeights:
    """The average of the tensors that a rank holds, which may be parts of sharded ones.

    Running statistics of batch norm are averaged like weights; counters are copied.

    Args:
        tensors: parameters and buffers by name, the very tensors that training changes in place.
        decay: 0 to 1, exclusive: the fraction of the average that remains at a step.
    """

    def __init__(self, tensors: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self._tensors = list(tensors.values())
        self._averages = [tensor.clone() for tensor in self._tensors]
        pairs = list(zip(self._tensors, self._averages, strict=True))
        self._weights = [tensor for tensor, _ in pairs if tensor.is_floating_point()]
        self._weight_averages = [average for _, average in pairs if average.is_floating_point()]
        self._counters = [(tensor, average) for tensor, average in pairs if not tensor.is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after step ``step`` (from 0)."""
        torch._foreach_lerp_(self._weight_averages, self._weights, 1 - decay_of(step, self.decay))
        for tensor, average in self._counters:
            average.copy_(tensor)

    @torch.no_grad()
    def restart(self) -> None:
        """Start a new average from the present weights."""
        for tensor, average in zip(self._tensors, self._averages, strict=True):
            average.copy_(tensor)

    @torch.no_grad()
    def copy_to_network(self) -> None:
        """Overwrite the network's weights with the average."""
        for tensor, average in zip(self._tensors, self._averages, strict=True):
            tensor.copy_(average)

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """Context in which the network holds the average; no step may be made inside."""
        pairs = list(zip(self._tensors, self._averages, strict=True))
        self._exchange(pairs)
        try:
            yield
        finally:
            self._exchange(pairs[::-1])  # in reverse, for a tensor under two names

    @torch.no_grad()
    def _exchange(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        for tensor, average in pairs:
            weight = tensor.clone()
            tensor.copy_(average)
            average.copy_(weight)
