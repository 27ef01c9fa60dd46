"""Waiting for threads, which a request to stop can end."""

import subprocess
import sys
import threading
import time

import pytest

from shards.ahead import load_ahead
from shards.threads import Stopped, Threads, interruptible, result_of


def test_calls_are_taken_in_order_and_errors_are_raised_by_whoever_waits():
    pool, numbers = Threads(1), []
    futures = [pool.submit(numbers.append, number) for number in range(5)]
    failing_future = pool.submit(int, "x")
    assert [result_of(future) for future in futures] == [None] * 5 and numbers == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="'x'"):
        result_of(failing_future)
    pool.close()


@pytest.mark.parametrize("threads", [0, 2])
def test_a_wait_for_a_reader_that_hangs_ends_when_a_stop_is_overdue(threads):
    blocked, start = threading.Event(), time.monotonic()
    batches = load_ahead([[1], [2]], lambda item: item == 1 or blocked.wait(60), list, threads)
    with interruptible(lambda: time.monotonic() - start > 0.5):
        assert next(batches) == [True]
        with pytest.raises(Stopped):
            next(batches)
    assert time.monotonic() - start < 10
    blocked.set()


def test_a_timeout_of_the_work_itself_is_its_error():
    def raise_timeout() -> None:
        raise TimeoutError("disk")

    pool = Threads(1)
    with interruptible(lambda: False), pytest.raises(TimeoutError, match="disk"):
        result_of(pool.submit(raise_timeout))
    pool.close()


def test_without_listeners_zero_threads_load_in_the_calling_one():
    names = [name for (name,) in load_ahead([[0]], lambda _: threading.current_thread().name, list, 0)]
    assert names == [threading.current_thread().name]


def test_a_thread_that_hangs_does_not_keep_its_process():
    code = "import threading; from shards.threads import Threads; p = Threads(2); p.submit(threading.Event().wait)\n"
    start = time.monotonic()
    assert subprocess.run([sys.executable, "-c", code + "p.close()"], timeout=60).returncode == 0
    assert time.monotonic() - start < 30
