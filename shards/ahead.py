"""Load batches in threads, in order and ahead of their consumer.

Threads need no process start-up, no copy of what they load and no shared memory: Pillow, zlib and torch's operators
release the interpreter's lock while they work. Samples are the unit of work, so that the first batch is ready after the
time of one batch divided by the number of threads.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import takewhile
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
        loaded: called before each batch with the number of batches, from the first on, whose items are all loaded.

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

    def gather(samples: list[Future[Any]]) -> Batch:
        return collate([sample.result() for sample in samples])

    pending: deque[Future[Batch]] = deque()
    yielded = 0

    def next_batch() -> Batch:
        nonlocal yielded
        batch = result_of(pending.popleft())
        yielded += 1
        loaded(yielded + sum(1 for _ in takewhile(Future.done, pending)))
        return batch

    try:
        for group in groups:
            # The pool takes tasks in the order of their submission, so gather() never waits for one that has not begun.
            samples = [pool.submit(load, item) for item in group]
            pending.append(pool.submit(gather, samples))
            if len(pending) > _max_pending(threads, len(group)):
                yield next_batch()
        while pending:
            yield next_batch()
    finally:
        pool.close()


def _max_pending(threads: int, size: int) -> int:
    """Return how many batches may be queued or in progress, so that each thread always finds a next sample."""
    return 2 + -(-2 * threads // size) if threads else 0
