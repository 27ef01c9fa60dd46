"""Threads beside the network: order, bounds, and where exceptions come up."""

import threading
import time

import pytest

from trainer.overlap import Background, map_ahead


def test_map_ahead_keeps_the_order_and_runs_side_by_side():
    together = threading.Barrier(2, timeout=10)

    def work(item: int) -> int:
        together.wait()  # passes only while two run at once
        time.sleep(0.01 * (item % 2))
        return item * item

    assert list(map_ahead(work, range(8), threads=2, ahead=4)) == [i * i for i in range(8)]


def test_map_ahead_takes_no_more_items_than_it_may():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = map_ahead(lambda item: item, items(), threads=2, ahead=5)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 3 + 5
    results.close()


def test_map_ahead_hands_out_what_is_there_if_it_is_eager():
    """Not only when as many results wait as may."""
    taken = []

    def items():
        for number in range(6):
            taken.append(number)
            yield number
            time.sleep(0.05)

    eager = [len(taken) - 1 - number for number in map_ahead(lambda item: item, items(), 2, 6, eager=True)]
    assert max(eager) <= 2, eager
    taken.clear()
    assert max(len(taken) - 1 - number for number in map_ahead(lambda item: item, items(), 2, 6)) == 5


def test_map_ahead_raises_at_the_items_turn():
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = map_ahead(work, range(5), threads=2, ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_background_runs_in_order_and_close_waits():
    done: list[int] = []
    background = Background()
    for number in range(5):
        background.submit(lambda number=number: (time.sleep(0.01), done.append(number)))
    background.close()
    assert done == [0, 1, 2, 3, 4]


def test_background_blocks_where_too_much_waits():
    gate = threading.Event()
    background = Background(limit=1)
    background.submit(gate.wait)  # at work
    background.submit(lambda: None)  # waits
    late = threading.Thread(target=background.submit, args=(lambda: None,))
    late.start()
    late.join(0.2)
    assert late.is_alive()
    gate.set()
    late.join(10)
    assert not late.is_alive()
    background.close()


def test_the_first_exception_of_the_background_is_raised_here_and_nothing_runs_after_it():
    ran: list[str] = []

    def fail() -> None:
        raise OSError("disk")

    background = Background()
    background.submit(fail)
    background.submit(lambda: ran.append("late"))
    with pytest.raises(OSError, match="disk"):
        background.wait()
    with pytest.raises(OSError, match="disk"):
        background.submit(lambda: None)
    with pytest.raises(OSError, match="disk"):
        background.close()
    assert ran == []


def test_the_background_may_be_used_again_after_it_was_closed():
    """Also after an exception: a trainer that was interrupted is started again."""
    background, ran = Background(limit=1), []
    for number in range(3):
        background.submit(lambda number=number: ran.append(number))
        background.submit(lambda: None)
        background.wait()
        if number == 1:
            background.submit(lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                background.close()
        background.close()
    assert ran == [0, 1, 2]
