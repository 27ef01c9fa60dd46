"""Threads that work ahead, and waits for them that a request to stop can end.

What a thread reads may never come: a network disk that hangs, a source that waits for ever. Python's own pools have
whoever asks wait without end, and the end of the process after that. Here a wait looks now and then whether a stop has
been asked for (:func:`heard`), and no thread keeps a process from ending.
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
_LEAVE = 2.0
"""Seconds that threads have to end, when nobody wants their work any more."""
_overdue: list[Callable[[], bool]] = []


class Stopped(Exception):
    """A stop was asked for, and what was waited for did not come."""


@contextmanager
def heard(overdue: Callable[[], bool]) -> Iterator[None]:
    """Ends waits of the main thread within by :class:`Stopped`, once ``overdue`` says that no more can be waited."""
    _overdue.append(overdue)
    try:
        yield
    finally:
        _overdue.remove(overdue)


def listening() -> bool:
    """Whether waits of this thread look for requests to stop."""
    return bool(_overdue) and threading.current_thread() is threading.main_thread()


def result_of(future: "Future[Result]") -> Result:
    """What a future gives, or raises.

    Raises:
        Stopped: when a stop was asked for before.
    """
    while listening() and not wait([future], _POLL).done:
        if any(overdue() for overdue in _overdue):
            raise Stopped
    return future.result()


class Threads:
    """A pool of threads that take calls in the order of their submission.

    Args:
        count: of threads.
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
        """Cancel what has not begun, and wait for what has, though not for ever."""
        try:
            while call := self._calls.get_nowait():
                call[0].cancel()
        except Empty:
            pass
        for _ in self._threads:
            self._calls.put(None)
        end = time.monotonic() + _LEAVE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))


def _work(calls: "SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]") -> None:
    while taken := calls.get():
        future, call, arguments = taken
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call(*arguments))
            except BaseException as error:  # whoever waits raises it
                future.set_exception(error)
        del taken, future, call, arguments  # a waiting thread holds nothing alive
