"""Shards of a store, fetched before they are needed, in the exact order of a pass over the data (contract 2).

The order is known, so the next shards are as well. Threads of each process fetch them into the node's cache as far as
there is room; a shard that another process is fetching is left to that process. Each process publishes which shards it
will need (:class:`shards.cacheplan.FetchPlan`), so that whoever makes room in the cache evicts what is needed last.
Data sets on a disk need none of this, and start no threads here.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol, TypeVar

from shards.cache import Item
from shards.cacheplan import FetchPlan
from shards.errors import UserError
from shards.read import Readers

if TYPE_CHECKING:  # it imports torch, which `inspect` need not wait for
    from shards.stream import Batches

Batch = TypeVar("Batch")

THREADS = 4
"""Threads per process; they wait for the network most of the time."""
_MAX_PLANNED = 4096
"""The largest number of shards in a plan."""
_RETRY_PAUSE = 0.5
"""Seconds between attempts to make room in the cache."""


class PredictableOrder(Protocol):
    """An order of samples whose next shards are known."""

    samples: int

    def stage(self, epoch: int, position: int) -> object:
        """Return a value that changes where the needed shards do."""

    def upcoming(self, epoch: int, position: int) -> Iterator[tuple[int, int, int]]:
        """Iterate over shards in the order of their first use from a position on, for at least one epoch: the epoch and
        position of a shard's first sample, and its number."""


class Prefetch:
    """A context manager that fetches shards ahead of one pass over the data.

    Args:
        readers: those of the frames and of all their labels, whose shards have the same numbers.
    """

    def __init__(self, readers: Iterable[Readers]) -> None:
        self._remote = [each for each in readers if each.manifest.remote]
        self._plans = [FetchPlan(cache) for cache in {each.manifest.cache for each in self._remote}]
        self._horizon = 2 * max((plan.cache.limit for plan in self._plans), default=0)
        self._todo: deque[tuple[Readers, Item, int]] = deque()
        self._changed, self._planning = threading.Condition(), threading.Lock()
        self._closed = False
        self._stage: object = None
        if self._remote:
            for _ in range(THREADS):
                threading.Thread(target=self._run, name="prefetch", daemon=True).start()

    def __bool__(self) -> bool:
        """Whether there is anything to fetch."""
        return bool(self._remote)

    def advance(self, order: PredictableOrder, epoch: int, position: int, end: tuple[int, int] | None = None) -> None:
        """Plan from a position on: everything before it has been read.

        Args:
            end: epoch and position at which the pass ends, exclusive.
        """
        if self._remote and (stage := order.stage(epoch, position)) != self._stage:
            self._stage = stage
            places = order.upcoming(epoch, position)
            if end is not None:
                places = takewhile(lambda place: place[:2] < end, places)
            self.update(shard for _, _, shard in places)

    def update(self, shards: Iterable[int]) -> None:
        """Set which shards are needed from now on, soonest first."""
        if not self._remote:
            return
        todo: list[tuple[Readers, Item, int]] = []
        planned: set[int] = set()
        place = 0
        for number in shards:
            if number in planned:
                continue
            planned.add(number)
            for readers in self._remote:
                for item in readers.manifest.items(readers.shards[number]):
                    todo.append((readers, item, place))
                    place += item.bytes or 0
            if place > self._horizon or len(todo) > 2 * _MAX_PLANNED:
                break
        with self._planning:
            if self._closed:  # a thread that loads batches may outlive the pass
                return
            for plan in self._plans:
                plan.write([(item, place) for readers, item, place in todo if readers.manifest.cache == plan.cache])
        with self._changed:
            self._todo = deque(todo)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._todo.clear()
            self._changed.notify_all()
        with self._planning:
            for plan in self._plans:
                plan.close()

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._todo and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                todo, (readers, item, place) = self._todo, self._todo.popleft()
            try:
                done = readers.manifest.cache.fetch_ahead(item, place)
            except (UserError, OSError):  # raised again where the shard is read
                continue
            if not done:
                with self._changed:
                    if todo is self._todo and not self._closed:
                        todo.appendleft((readers, item, place))
                        self._changed.wait(_RETRY_PAUSE)


def readers_of(frames: "HasReaders") -> list[Readers]:
    """Return the readers of frames and of their pseudo-labels."""
    return [frames.readers, *(labels.readers for labels in frames.label_shards.values())]


class HasReaders(Protocol):
    """:class:`shards.frames.Frames`, or an object that is read in the same way."""

    readers: Readers
    label_shards: dict


def prefetch_batches(
    load: Callable[[Callable[[int], None]], Iterable[Batch]],
    readers: Sequence[Readers],
    order: PredictableOrder,
    cut: "Batches",
    start: int,
    stop: int,
) -> Iterator[Batch]:
    """Yield a rank's micro-batches of steps ``[start, stop)``, and fetch their shards ahead.

    Args:
        load: loads the batches, and calls its argument with the number of batches that have been loaded, at once: they
            may be many more than were yielded, and a plan that is not up to date would keep room for shards that were
            read, and evict those that are needed next.
    """
    steps = order.samples // cut.global_batch_size
    with Prefetch(readers) as ahead:

        def position(step: int) -> tuple[int, int]:
            return step // steps, step % steps * cut.global_batch_size

        def advance(loaded: int) -> None:
            step = cut.first(start * cut.gradient_accumulation_steps + loaded)[0]
            if steps and step < stop:
                ahead.advance(order, *position(step), position(stop))

        advance(0)
        yield from load(advance)
