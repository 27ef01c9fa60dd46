"""Worker processes for the shards of a data set, which end with their parent, however that ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from shards.errors import UserError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def run(make: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int) -> Iterator[tuple[_Item, _Result]]:
    """Yield each item with what a function makes of it, in the order in which they are finished.

    Args:
        make: the function, which can be pickled.
        items: its arguments.
        jobs: number of worker processes; with 1, this process does the work.

    Raises:
        UserError: when a worker process was killed.
    """
    if jobs <= 1:
        yield from ((item, make(item)) for item in items)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the progress display's thread and locks
    pool = ProcessPoolExecutor(min(jobs, len(items)), context, initializer=_start_worker)
    try:
        futures = {pool.submit(make, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        hint = "give fewer --jobs if memory is short, and start the same command again"
        raise UserError("a worker process was killed", key="--jobs", hint=hint) from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()  # a cancelled pool would first finish the shards in progress
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it and ends the workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent was killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
