"""An exponential moving average of a network's weights, which is evaluated, labels and is exported in their place.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); with a fixed decay as in Tarvainen
and Valpola, "Mean teachers are better role models" (NeurIPS 2017).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def decay_of(step: int, decay: float) -> float:
    """The decay of step ``step`` (from 0): less at the start, so that random first weights are forgotten; a function of
    the step alone, so that a run that continues needs to remember nothing."""
    return min(decay, (1 + step) / (10 + step))


class AveragedWeights:
    """The average of the tensors that a rank holds, which may be parts of sharded ones.

    Batch norm's running statistics are averaged as weights are; counters are copied.

    Args:
        held: parameters and buffers by name, the very tensors that training changes in place.
        decay: 0 to 1, exclusive: what remains of the average at a step.
    """

    def __init__(self, held: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self._held = list(held.values())
        self._average = [tensor.clone() for tensor in self._held]
        averaged = [number for number, tensor in enumerate(self._held) if tensor.is_floating_point()]
        self._learnt = [self._held[number] for number in averaged], [self._average[number] for number in averaged]
        self._counters = [
            (own, kept) for own, kept in zip(self._held, self._average, strict=True) if not own.is_floating_point()
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step`` (from 0)."""
        weights, average = self._learnt
        torch._foreach_lerp_(average, weights, 1 - decay_of(step, self.decay))
        for own, kept in self._counters:
            kept.copy_(own)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew with the weights as they are."""
        for own, kept in zip(self._held, self._average, strict=True):
            kept.copy_(own)

    @torch.no_grad()
    def settle(self) -> None:
        """Let the network hold the average from now on."""
        for own, kept in zip(self._held, self._average, strict=True):
            own.copy_(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network holds the average inside; no step may be made there."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for own, kept in zip(self._held, self._average, strict=True):
            weight = own.clone()
            own.copy_(kept)
            kept.copy_(weight)
