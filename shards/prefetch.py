"""Shards of a store, fetched before they are needed, in the exact order of a pass over the data (contract 2).

The order is known, so is what comes next. Threads of each process fetch it into the node's cache as far as there is
room; a shard that another process fetches is left to that one. What a process will need it writes down for whoever
makes room in the cache (:class:`shards.cache.Plan`), so that what is needed last goes first. Data sets on a disk need
none of it, and have no threads here.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol, TypeVar

from shards.cache import Item, Plan
from shards.errors import UserError
from shards.read import Readers

if TYPE_CHECKING:  # it brings torch, which `inspect` need not wait for
    from shards.stream import Batches

Batch = TypeVar("Batch")

THREADS = 4
"""Of each process; they wait for the network most of the time."""
_MOST = 4096
"""Shards that a plan names at the most."""
_AGAIN = 0.5
"""Seconds until it is tried again to make room."""


class Planned(Protocol):
    """An order that says what comes next."""

    samples: int

    def stage(self, epoch: int, position: int) -> object:
        """What changes where other shards are needed."""

    def upcoming(self, epoch: int, position: int) -> Iterator[tuple[int, int, int]]:
        """Shards in the order in which they are first needed from a position on, for an epoch at least: the epoch and
        position of their first sample, and their number."""


class Prefetch:
    """Fetches ahead for one pass. A context manager.

    Args:
        sources: the readers of the frames and of all their labels, whose shards have the same numbers.
    """

    def __init__(self, sources: Iterable[Readers]) -> None:
        self._sources = [readers for readers in sources if readers.manifest.remote]
        self._plans = [Plan(cache) for cache in {readers.manifest.cache for readers in self._sources}]
        self._horizon = 2 * max((plan.cache.limit for plan in self._plans), default=0)
        self._todo: deque[tuple[Readers, Item, int]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._stage: object = None
        if self._sources:
            for _ in range(THREADS):
                threading.Thread(target=self._run, name="prefetch", daemon=True).start()

    def __bool__(self) -> bool:
        """Whether there is anything to fetch."""
        return bool(self._sources)

    def at(self, order: Planned, epoch: int, position: int, end: tuple[int, int] | None = None) -> None:
        """Say that everything before a position has been read.

        Args:
            end: epoch and position that are not read any more.
        """
        if self._sources and (stage := order.stage(epoch, position)) != self._stage:
            self._stage = stage
            places = order.upcoming(epoch, position)
            if end is not None:
                places = takewhile(lambda place: place[:2] < end, places)
            self.update(shard for _, _, shard in places)

    def update(self, shards: Iterable[int]) -> None:
        """Say which shards are needed from now on, soonest first."""
        if not self._sources:
            return
        wanted: list[tuple[Readers, Item, int]] = []
        seen: set[int] = set()
        place = 0
        for number in shards:
            if number in seen:
                continue
            seen.add(number)
            for readers in self._sources:
                for item in readers.manifest.items(readers.shards[number]):
                    wanted.append((readers, item, place))
                    place += item.bytes or 0
            if place > self._horizon or len(wanted) > 2 * _MOST:
                break
        for plan in self._plans:
            plan.write([(item, place) for readers, item, place in wanted if readers.manifest.cache == plan.cache])
        with self._changed:
            self._todo = deque(wanted)
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._todo.clear()
            self._changed.notify_all()
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
            except (UserError, OSError):  # whoever needs it asks again, and says what is wrong
                continue
            if not done:
                with self._changed:
                    if todo is self._todo and not self._closed:
                        todo.appendleft((readers, item, place))
                        self._changed.wait(_AGAIN)


def sources_of(frames: "HasReaders") -> list[Readers]:
    """The readers of frames and of their pseudo-labels."""
    return [frames.readers, *(labels.readers for labels in frames.sources.values())]


class HasReaders(Protocol):
    """:class:`shards.frames.Frames`, or what is read like them."""

    readers: Readers
    sources: dict


def followed(
    batches: Iterable[Batch],
    sources: Sequence[Readers],
    order: Planned,
    cut: "Batches",
    start: int,
    stop: int,
) -> Iterator[Batch]:
    """A rank's micro-batches of steps ``[start, stop)`` as they are, with their shards fetched ahead."""
    steps = order.samples // cut.global_batch_size

    def place(step: int) -> tuple[int, int]:
        return step // steps, step % steps * cut.global_batch_size

    with Prefetch(sources) as ahead:
        if not ahead or not steps:
            yield from batches
            return
        number = start * cut.gradient_accumulation_steps
        ahead.at(order, *place(start), place(stop))
        for batch in batches:
            number += 1  # all before this one has been read
            step = cut.first(number)[0]
            if step < stop:
                ahead.at(order, *place(step), place(stop))
            yield batch
