"""Batches with a fixed share of two pools of samples, in an order that is still a pure function of (seed, epoch).

Where few samples are of one kind (frames with a ground-truth label) and many of another (frames with a pseudo-label), a
batch drawn from all of them holds hardly any of the former. Here every global batch holds the same number of each kind.
Each pool has its own order (:class:`shards.order.Order`) and is traversed repeatedly, every sample once per pass,
independently of the epochs of the run; so a position is still found without looking at those before it.
"""

from collections.abc import Iterator, Sequence
from heapq import merge

import numpy as np

from shards.errors import UserError
from shards.order import Order, mix

_POOL = 0x9001  # separates the pools' random streams from that of an order of all samples


class Mixture:
    """Map positions of an epoch to samples of two pools, spread evenly over every global batch.

    An epoch has as many samples as both pools together, rounded down to whole global batches.

    Args:
        pools: for each pool, its number of samples in each shard.
        second: number of samples of a global batch that are from the second pool.
        global_batch_size: samples of an optimizer step. The order depends on it.
        seed: seed of the run.
        window: see :class:`shards.order.Order`.

    Raises:
        UserError: when a pool that the batch needs is empty.
    """

    def __init__(
        self, pools: Sequence[Sequence[int]], second: int, global_batch_size: int, seed: int, *, window: int = 32
    ) -> None:
        self.counts = np.asarray(pools, dtype=np.int64)
        self.orders = [Order(counts, mix(seed, _POOL, pool), window=window) for pool, counts in enumerate(pools)]
        self.parts = global_batch_size - second, second
        self.global_batch_size = global_batch_size
        for order, part, name in zip(self.orders, self.parts, ("first", "second"), strict=True):
            if part and not order.samples:
                raise UserError(f"the {name} of two pools is empty, where a batch takes {part} samples of it")
        self.samples = sum(order.samples for order in self.orders)
        self.steps_per_epoch = self.samples // global_batch_size

    def stage(self, epoch: int, position: int) -> tuple[object, ...]:
        """Return what :meth:`shards.order.Order.stage` returns, for both pools."""
        step = epoch * self.steps_per_epoch + position // self.global_batch_size
        parts = zip(self.orders, self.parts, strict=True)
        return tuple(order.stage(*divmod(step * part, order.samples)) for order, part in parts if part)

    def upcoming(self, epoch: int, position: int) -> Iterator[tuple[int, int, int]]:
        """Yield what :meth:`shards.order.Order.upcoming` yields, for both pools."""
        step = epoch * self.steps_per_epoch + position // self.global_batch_size

        def upcoming_in(order: Order, part: int) -> Iterator[tuple[int, int, int]]:
            for pool_pass, place, shard in order.upcoming(*divmod(step * part, order.samples)):
                epoch, step_of_epoch = divmod((pool_pass * order.samples + place) // part, self.steps_per_epoch)
                yield epoch, step_of_epoch * self.global_batch_size, shard

        return merge(*(upcoming_in(order, part) for order, part in zip(self.orders, self.parts, strict=True) if part))

    def locate(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the sample at a position of an epoch, as (shard, number within the shard). Samples of the second pool
        are numbered after those that the first has in the same shard.

        Raises:
            IndexError: when the epoch has no such position.
        """
        if not 0 <= position < self.steps_per_epoch * self.global_batch_size:
            raise IndexError(f"position {position} of an epoch of {self.samples} samples")
        step, slot = divmod(position, self.global_batch_size)
        step += epoch * self.steps_per_epoch
        before = slot * self.parts[1] // self.global_batch_size  # slots of the second pool before this one
        pool = int((slot + 1) * self.parts[1] // self.global_batch_size > before)
        order = self.orders[pool]
        place = step * self.parts[pool] + (before if pool else slot - before)
        shard, number = order.locate(*divmod(place, order.samples))
        return shard, number + pool * int(self.counts[0][shard])
