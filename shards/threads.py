"""Threads that work ahead, and waits for their results that a stop request can end.

A thread's read may never return: a network disk hangs, or a source waits for ever. With Python's own pools the caller
and then the exit of the process would wait as long. Here a wait regularly checks whether a stop was requested
(:func:`interruptible`), and no thread keeps a process from ending.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")

_POLL = 0.2
_JOIN_TIMEOUT = 2.0
"""Seconds that :meth:`Threads.close` waits for running calls."""
_overdue: list[Callable[[], bool]] = []


class Stopped(Exception):
    """A stop was requested while a result was awaited."""


@contextmanager
def interruptible(overdue: Callable[[], bool]) -> Iterator[None]:
    """End waits of the main thread inside the block by :class:`Stopped`, once ``overdue`` returns True."""
    _overdue.append(overdue)
    try:
        yield
    finally:
        _overdue.remove(overdue)


def listening() -> bool:
    """Whether waits of this thread check for stop requests."""
    return bool(_overdue) and threading.current_thread() is threading.main_thread()


def result_of(future: "Future[Result]") -> Result:
    """Wait for a future, and return its result or raise its exception.

    Raises:
        Stopped: when a stop was requested before the result was available.
    """
    while listening() and not wait([future], _POLL).done:
        if any(overdue() for overdue in _overdue):
            raise Stopped
    return future.result()


class Threads:
    """A pool of threads that run calls in the order of their submission.

    Args:
        count: number of threads.
    """

    def __init__(self, count: int, name: str = "loader") -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        future: Future[Result] = Future()
        self._calls.put((future, call, arguments))
        return future

    def close(self) -> None:
        """Cancel calls that have not started, and wait for those that have, up to a timeout."""
        try:
            while call := self._calls.get_nowait():
                call[0].cancel()
        except Empty:
            pass
        for _ in self._threads:
            self._calls.put(None)
        end = time.monotonic() + _JOIN_TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))


def _work(calls: "SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]") -> None:
    while item := calls.get():
        future, call, arguments = item
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call(*arguments))
            except BaseException as error:  # raised in the thread that waits
                future.set_exception(error)
        del item, future, call, arguments  # an idle thread must not keep objects alive
