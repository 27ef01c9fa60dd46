"""Load batches in threads, in order and ahead of their consumer.

Threads need no process start-up, no copy of what they load and no shared memory: Pillow, zlib and torch's operators
release the interpreter's lock while they work. Samples are the unit of work, so that the first batch is ready after the
time of one batch divided by the number of threads.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from shards.errors import UserError
from shards.threads import Threads, listening, result_of

Item = TypeVar("Item")
Batch = TypeVar("Batch")


def load_ahead(
    groups: Iterable[Sequence[Item]],
    load: Callable[[Item], Any],
    collate: Callable[[list[Any]], Batch],
    threads: int,
    loaded: Callable[[int], None] = lambda batches: None,
) -> Iterator[Batch]:
    """Yield batches of loaded items, in order.

    Args:
        groups: the items of each batch.
        load: loads an item; called by several threads at once.
        collate: makes a batch of the loaded items.
        threads: number of threads. With 0, a batch is loaded when it is requested, in the calling thread, or in a
            single worker thread where a request to stop has to be noticed meanwhile.
        loaded: called with the number of batches, from the first on, whose items are all loaded, as soon as it grows:
            in any of the threads, but never in two at once.

    Raises:
        UserError: when ``threads`` is negative.
        Stopped: when a stop was requested and a batch does not arrive (:func:`shards.threads.interruptible`).
        Exception: whatever ``load`` or ``collate`` raises, when the batch it concerns is due.
    """
    if threads < 0:
        raise UserError(f"{threads} threads", key="num_workers", hint="give 0 or more")
    if not threads and not listening():
        for number, group in enumerate(groups, start=1):
            batch = collate([load(item) for item in group])
            loaded(number)
            yield batch
        return
    pool = Threads(threads or 1)

    progress = _Progress(loaded)

    def gather(number: int, samples: list[Future[Any]]) -> Batch:
        batch = collate([sample.result() for sample in samples])
        progress.add(number)
        return batch

    pending: deque[Future[Batch]] = deque()
    try:
        for number, group in enumerate(groups):
            # The pool takes tasks in the order of their submission, so gather() never waits for one that has not begun.
            samples = [pool.submit(load, item) for item in group]
            pending.append(pool.submit(gather, number, samples))
            if len(pending) > _max_pending(threads, len(group)):
                yield result_of(pending.popleft())
        while pending:
            yield result_of(pending.popleft())
    finally:
        pool.close()


class _Progress:
    """Counts the batches, from the first on, that are loaded, in whichever order that happens.

    Args:
        report: called with each new count.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report, self._lock = report, threading.Lock()
        self._count, self._beyond = 0, set[int]()

    def add(self, number: int) -> None:
        with self._lock:
            self._beyond.add(number)
            before = self._count
            while self._count in self._beyond:
                self._beyond.remove(self._count)
                self._count += 1
            if self._count > before:
                self._report(self._count)


def _max_pending(threads: int, size: int) -> int:
    """Return how many batches may be queued or in progress, so that each thread always finds a next sample."""
    return 2 + -(-2 * threads // size) if threads else 0
