"""The training stream: batches in the order of contract 2, as a ``webdataset.DataPipeline``.

The global batch of step ``s`` holds positions ``[s·G, (s+1)·G)`` of its epoch, cut into micro-batches; micro-batch
``m`` goes to rank ``m mod ranks``, whose threads load samples ahead and return them in order: so the samples of a step
depend on neither ranks, nor accumulation, nor threads. The stream continues over epochs without a pause, and starts at
any step at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shards.ahead import load_ahead
from shards.arguments import check_count
from shards.errors import UserError
from shards.mixture import Mixture
from shards.order import Order

if TYPE_CHECKING:
    import webdataset


@dataclass(frozen=True)
class Batches:
    """How global batches are cut.

    Args:
        global_batch_size: samples of an optimizer step, over all ranks and accumulation steps.
        gradient_accumulation_steps: micro-batches per step on each rank.
        rank, world_size: index of this process, and the number of processes.

    Raises:
        UserError: when a number is not one from 1 up, a batch cannot be divided, or there is no such rank.
    """

    global_batch_size: int
    gradient_accumulation_steps: int = 1
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        size, steps, ranks = self.global_batch_size, self.gradient_accumulation_steps, self.world_size
        for key in ("global_batch_size", "gradient_accumulation_steps", "world_size"):
            check_count(key, getattr(self, key))
        if not 0 <= self.rank < ranks:
            message = f"{self.rank}, where world_size is {ranks}"
            hint = f"give 0 to {ranks - 1}, or the number of processes as world_size"
            raise UserError(message, key="rank", hint=hint)
        parts = steps * ranks
        if size % parts or size < parts:
            fits = ", ".join(str(n) for n in range(1, size + 1) if size % n == 0)
            hint = f"make ranks × gradient_accumulation_steps one of {fits}, or the batch a multiple of {parts}"
            message = f"{size} samples cannot be cut into {ranks} ranks × {steps} accumulation steps"
            raise UserError(message, key="global_batch_size", hint=hint)

    @property
    def micro(self) -> int:
        """Number of samples of a micro-batch."""
        return self.global_batch_size // (self.gradient_accumulation_steps * self.world_size)

    def first(self, number: int) -> tuple[int, int]:
        """Return the step, and the first position within the global batch, of this rank's micro-batch ``number``."""
        step, part = divmod(number, self.gradient_accumulation_steps)
        return step, (part * self.world_size + self.rank) * self.micro


@dataclass(frozen=True)
class Position:
    """The position of a sample in the run, which determines its augmentation."""

    epoch: int
    position: int
    shard: int
    number: int


class OrderedSource:
    """The pipeline's first stage: the positions of this rank.

    Args:
        order: the order of an epoch's samples.
        batches: how global batches are cut.
        start, stop: steps of the run, ``[start, stop)``.

    Raises:
        UserError: when an epoch has fewer samples than one global batch.
    """

    def __init__(self, order: Order | Mixture, batches: Batches, start: int, stop: int) -> None:
        self.order, self.batches, self.start, self.stop = order, batches, start, stop
        self.steps_per_epoch = order.samples // batches.global_batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"{batches.global_batch_size} samples per step, but an epoch has only {order.samples}",
                key="global_batch_size",
                hint="make it smaller, or give more labelled frames",
            )

    def __call__(self) -> Iterator[Position]:
        first, last = (step * self.batches.gradient_accumulation_steps for step in (self.start, self.stop))
        for number in range(first, last):
            step, offset = self.batches.first(number)
            epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
            base = step_of_epoch * self.batches.global_batch_size + offset
            for position in range(base, base + self.batches.micro):
                yield Position(epoch, position, *self.order.locate(epoch, position))


def pipeline(
    source: OrderedSource,
    load: Callable[[Position], Any],
    collate: Callable[[list[Any]], Any],
    num_workers: int = 0,
    loaded: Callable[[int], None] = lambda batches: None,
) -> "webdataset.DataPipeline":
    """Build the pipeline from positions to loaded samples to micro-batches, in order.

    Args:
        source: yields positions.
        load: loads the sample at a position.
        collate: makes a batch of samples.
        num_workers: threads that load ahead; 0 loads a batch when it is requested.
        loaded: called with the number of loaded batches (:func:`shards.ahead.load_ahead`).
    """
    import webdataset  # which imports torch, unlike what describes positions

    return webdataset.DataPipeline(
        source,
        webdataset.batched(source.batches.micro, collation_fn=list, partial=False),
        lambda groups: load_ahead(groups, load, collate, num_workers, loaded),
    )
