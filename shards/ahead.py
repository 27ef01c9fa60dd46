"""Batches loaded in threads, ahead of whoever takes them and in their order.

Threads need no start, no copy of what they load and no shared memory: Pillow, zlib and torch's operators release the
interpreter's lock while they work. Samples are the unit of work, so that the first batch is ready after the time of one
batch divided by the number of threads.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from shards.threads import Threads, listening, result_of

Item = TypeVar("Item")
Batch = TypeVar("Batch")


def load_ahead(
    groups: Iterable[Sequence[Item]],
    load: Callable[[Item], Any],
    collate: Callable[[list[Any]], Batch],
    threads: int,
) -> Iterator[Batch]:
    """Batches of loaded items, in order.

    Args:
        groups: the items of each batch.
        load: loads an item; called by several threads at once.
        collate: makes a batch of what was loaded.
        threads: 0 loads when a batch is asked for, in the calling thread, or in one beside it where a request to stop
            is to be heard meanwhile.

    Raises:
        Stopped: when a stop was asked for, and a batch does not come (:func:`shards.threads.heard`).
        Exception: whatever ``load`` or ``collate`` raises, at its batch's turn.
    """
    if not threads and not listening():
        for group in groups:
            yield collate([load(item) for item in group])
        return
    pool = Threads(threads or 1)

    def gather(loading: list[Future[Any]]) -> Batch:
        return collate([future.result() for future in loading])

    waiting: deque[Future[Batch]] = deque()
    try:
        for group in groups:
            # The pool takes tasks in the order of their submission: whoever gathers waits for none that has not begun.
            loading = [pool.submit(load, item) for item in group]
            waiting.append(pool.submit(gather, loading))
            if len(waiting) > _ahead(threads, len(group)):
                yield result_of(waiting.popleft())
        while waiting:
            yield result_of(waiting.popleft())
    finally:
        pool.close()


def _ahead(threads: int, size: int) -> int:
    """How many batches wait or are at work: each thread has a sample to begin with when it is done with one."""
    return 2 + -(-2 * threads // size) if threads else 0
