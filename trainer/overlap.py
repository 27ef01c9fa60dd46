"""Work in threads beside the network: decoding ahead of it, encoding behind it. Pillow and zlib release the GIL."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from shards.threads import Threads, result_of
from trainer.ranks import ranks_here

Item = TypeVar("Item")
Result = TypeVar("Result")


def threads_per_rank() -> int:
    """Return this rank's share of the available CPU cores, at least two."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, cores // ranks_here())


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int, *, eager: bool = False
) -> Iterator[Result]:
    """Map in threads, in order, with at most ``ahead`` results waiting. An exception is raised at its item's turn.

    Args:
        function: called in the threads.
        items: its arguments.
        threads: their number.
        ahead: results that may wait.
        eager: whether a result is yielded once it is there, and not only when ``ahead`` wait: for a caller that takes
            no time itself.

    Raises:
        Stopped: when a stop was requested and a result does not arrive (:func:`shards.threads.interruptible`).
    """
    pool = Threads(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            while waiting and (len(waiting) >= ahead or (eager and waiting[0].done())):
                yield result_of(waiting.popleft())
        while waiting:
            yield result_of(waiting.popleft())
    finally:
        pool.close()


class Background:
    """Calls functions one after another in a thread; the next method call raises the first exception. After
    :meth:`close` it may be used again.

    Args:
        limit: number of calls that may wait before :meth:`submit` blocks, which bounds the memory they hold.
    """

    def __init__(self, limit: int = 4) -> None:
        self._calls: queue.Queue[Callable[[], object] | None] = queue.Queue(limit)
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], object]) -> None:
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._calls.put(call)

    def wait(self) -> None:
        """Wait for all submitted calls."""
        self._calls.join()
        self._raise()

    def close(self) -> None:
        """Wait for all submitted calls, and end the thread."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None
        try:
            self._raise()
        finally:
            self._error = None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            if call is not None and self._error is None:
                try:
                    call()
                except BaseException as error:  # the submitting thread raises it
                    self._error = error
            self._calls.task_done()
            if call is None:
                return
