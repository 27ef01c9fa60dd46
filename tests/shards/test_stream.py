"""The stream of batches: a step has the same samples for any number of ranks, accumulation steps and loader threads."""

import threading
import time
from itertools import pairwise, product

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.ahead import load_ahead
from shards.errors import UserError
from shards.order import Order
from shards.stream import Batches, OrderedSource, Position, pipeline

COUNTS = [6, 10, 0, 8, 12, 4, 13]  # 53 samples: 2 steps of 24 an epoch, and 5 samples dropped
GLOBAL = 24
ORDER = Order(COUNTS, seed=5, window=3)
STEPS = 5


def fields(position):
    # a list, because torch turns tuples into lists
    return [position.epoch, position.position, position.shard, position.number]


def micro_batches(rank, ranks, accumulation, workers, start=0, stop=STEPS, order=ORDER, size=GLOBAL):
    """Return one rank's micro-batches."""
    source = OrderedSource(order, Batches(size, accumulation, rank, ranks), start, stop)
    return list(pipeline(source, fields, list, workers))


def steps_of(ranks, accumulation, workers, start=0, stop=STEPS, order=ORDER, size=GLOBAL):
    """Return the samples of each step, in the order of the global batch."""
    batches_by_rank = [
        micro_batches(rank, ranks, accumulation, workers, start, stop, order, size) for rank in range(ranks)
    ]
    assert {len(batches) for batches in batches_by_rank} == {(stop - start) * accumulation}, "every rank, as many steps"
    return [
        [
            sample
            for part in range(accumulation)
            for rank in range(ranks)
            for sample in batches_by_rank[rank][step * accumulation + part]
        ]
        for step in range(len(batches_by_rank[0]) // accumulation)
    ]


def expected():
    return [
        [[s // 2, p, *ORDER.locate(s // 2, p)] for p in range(s % 2 * GLOBAL, (s % 2 + 1) * GLOBAL)]
        for s in range(STEPS)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 1}, "rank: 1, where world_size is 1; give 0 to 0"),
        ({"rank": -1, "world_size": 2}, "rank: -1, where world_size is 2; give 0 to 1, or the number of processes"),
        ({"world_size": 0}, "world_size: is 0; give a whole number from 1 up"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps: is 0; give a whole number from 1 up"),
    ],
)
def test_a_rank_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Batches(4, **arguments)


def test_a_step_takes_the_next_positions_of_its_epoch():
    assert steps_of(ranks=1, accumulation=1, workers=0) == expected()


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_accumulation_and_workers_change_nothing(ranks, accumulation, workers):
    assert steps_of(ranks, accumulation, workers) == expected()


@pytest.mark.slow
@given(st.sampled_from([(1, 1), (2, 1), (1, 4), (3, 2), (12, 1)]), st.integers(0, 4), st.integers(0, STEPS))
def test_a_continued_run_sees_the_tail_of_the_whole_one(parts, workers, start):
    ranks, accumulation = parts
    assert steps_of(ranks, accumulation, workers, start) == expected()[start:]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_hand_over_in_order_however_long_each_sample_takes(threads):
    def slow_fields(position):
        time.sleep(0.003 * (position.position % 3))
        return fields(position)

    source = OrderedSource(ORDER, Batches(GLOBAL, 2, 1, 2), 1, STEPS)
    assert list(pipeline(source, slow_fields, list, threads)) == micro_batches(1, 2, 2, 0, start=1)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_is_raised_at_its_batchs_turn_and_ends_the_threads(threads):
    def load(position):
        if (position.epoch, position.position) == (0, GLOBAL + 1):
            raise UserError("broken")
        return fields(position)

    batches = iter(pipeline(OrderedSource(ORDER, Batches(GLOBAL), 0, STEPS), load, list, threads))
    assert next(batches) == expected()[0]
    with pytest.raises(UserError, match="broken"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_no_more_is_loaded_ahead_than_can_wait():
    loaded, before = [], threading.active_count()
    batches = iter(load_ahead(([n, n] for n in range(100)), lambda n: loaded.append(n) or n, list, 2))
    next(batches)
    time.sleep(0.1)
    assert 4 <= len(loaded) <= 12
    batches.close()
    assert len(loaded) <= 12 and threading.active_count() <= before + 2, "those of this loader end with it"


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_load_ahead_counts_the_batches_that_are_loaded(threads):
    gate, started, counts = threading.Event(), threading.Event(), []

    def load(item):
        if item == 2 and threads:
            started.set()
            gate.wait(20)
        return item

    batches = iter(load_ahead([[0], [1], [2], [3]], load, list, threads, counts.append))
    assert next(batches) == [0]
    if threads:
        assert started.wait(20) and counts[-1] <= 2, "the third is being loaded"
        gate.set()
        deadline = time.monotonic() + 20
        while counts[-1] < 4 and time.monotonic() < deadline:
            time.sleep(0.01)  # a consumer that is busy does not keep the count back
        assert counts[-1] == 4
    assert [next(batches), next(batches), next(batches)] == [[1], [2], [3]]
    assert counts == sorted({*counts}) and counts[-1] == 4


def test_the_stream_is_a_webdataset_pipeline():
    stages = pipeline(OrderedSource(ORDER, Batches(GLOBAL), 0, 1), fields, list)
    assert isinstance(stages, webdataset.DataPipeline)
    (batch,) = stages
    assert len(batch) == GLOBAL


@st.composite
def epochs(draw, sizes):
    """Draw (order, size of a global batch): often one sample more or less than whole batches, few shards."""
    size = draw(sizes)
    samples = draw(st.integers(1, 3)) * size + draw(st.sampled_from([-1, 0, 1]) | st.integers(0, size - 1))
    samples = max(samples, size)
    cuts = draw(st.lists(st.integers(0, samples), max_size=6).map(sorted))
    counts = [end - start for start, end in pairwise([0, *cuts, samples])]  # uneven, and some are empty
    return Order(counts, draw(st.integers(0, 2**64 - 1)), window=draw(st.integers(1, 8))), size


@pytest.mark.slow
@given(epochs(st.just(24)))
@settings(max_examples=25)
def test_any_shards_give_one_sequence_whatever_reads_them(epoch):
    """The order is the same for every number of ranks, workers and accumulation steps, over two epochs, unsorted."""
    order, size = epoch
    stop = 2 * (order.samples // size)
    expected = steps_of(1, 1, 0, 0, stop, order, size)
    for ranks, workers, accumulation in product((1, 2, 3, 4), (0, 1, 3), (1, 2)):
        assert steps_of(ranks, accumulation, workers, 0, stop, order, size) == expected


@given(st.data(), st.integers(1, 5), st.integers(1, 3), st.integers(0, 3))
def test_an_epoch_holds_every_sample_once_but_for_its_last_ones(data, ranks, accumulation, workers):
    """The dropped samples are the remainder modulo the global batch, at the end of the epoch's order."""
    order, size = data.draw(epochs(st.integers(1, 3).map(lambda micro: micro * ranks * accumulation)))
    steps = order.samples // size
    seen = steps_of(ranks, accumulation, workers, 0, 2 * steps, order, size)
    all_samples = [[shard, number] for shard, count in enumerate(order.counts) for number in range(count)]
    for epoch in (0, 1):
        samples = [sample for step in seen[epoch * steps : (epoch + 1) * steps] for sample in step]
        assert [sample[:2] for sample in samples] == [[epoch, position] for position in range(steps * size)]
        dropped = [list(order.locate(epoch, position)) for position in range(steps * size, order.samples)]
        assert len(dropped) == order.samples % size
        assert sorted([sample[2:] for sample in samples] + dropped) == all_samples


def test_a_run_of_a_million_steps_is_entered_at_once(monkeypatch):
    """No earlier position is located."""
    calls = []
    order = Order([1000] * 1000, seed=0)
    original_locate = order.locate

    def locate(epoch, position):
        calls.append((epoch, position))
        return original_locate(epoch, position)

    monkeypatch.setattr(order, "locate", locate)
    source = OrderedSource(order, Batches(8), 1_000_000, 1_000_001)
    (first, *_), count = list(source()), len(calls)
    assert count == 8
    assert first == Position(8, 0, *original_locate(8, 0))


def test_a_batch_that_cannot_be_cut_says_what_can():
    with pytest.raises(UserError, match="12 samples cannot be cut into 5 ranks × 1 accumulation steps") as caught:
        Batches(12, gradient_accumulation_steps=1, rank=0, world_size=5)
    assert caught.value.key == "global_batch_size"
    assert "one of 1, 2, 3, 4, 6, 12, or the batch a multiple of 5" in str(caught.value)
    for size in (0, "4", 2.5):
        with pytest.raises(UserError, match=f"^global_batch_size: is {size!r}; give a whole number from 1 up$"):
            Batches(size)
    with pytest.raises(UserError, match="4 samples cannot be cut into 2 ranks × 4 accumulation steps"):
        Batches(4, gradient_accumulation_steps=4, rank=0, world_size=2)


def test_a_batch_larger_than_an_epoch_is_refused():
    with pytest.raises(UserError, match="54 samples per step, but an epoch has only 53; make it smaller") as caught:
        OrderedSource(ORDER, Batches(54), 0, 1)
    assert caught.value.key == "global_batch_size"
