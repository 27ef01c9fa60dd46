"""What a step sees is the same whatever the number of ranks, accumulation steps and loader workers."""

from types import SimpleNamespace

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import shards.stream
from shards.errors import UserError
from shards.order import Order
from shards.stream import Batches, OrderedSource, Position, pipeline

COUNTS = [6, 10, 0, 8, 12, 4, 13]  # 53 samples: 2 steps of 24 an epoch, and 5 samples dropped
GLOBAL = 24
ORDER = Order(COUNTS, seed=5, window=3)
STEPS = 5


def place(position):
    return [position.epoch, position.position, position.shard, position.number]  # torch makes lists of tuples


def micro_batches(rank, ranks, accumulation, workers, start=0, stop=STEPS):
    """One rank's micro-batches, collected from its workers in turn as torch's loader does."""
    batches = Batches(GLOBAL, accumulation, rank, ranks)
    parts = []
    for worker in range(max(workers, 1)):
        info = SimpleNamespace(id=worker, num_workers=workers) if workers else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards.stream, "get_worker_info", lambda info=info: info)
            parts.append(list(pipeline(OrderedSource(ORDER, batches, start, stop), place, list)))
    return [parts[i % len(parts)][i // len(parts)] for i in range(sum(map(len, parts)))]


def steps_of(ranks, accumulation, workers, start=0):
    """What each step sees, in the order of the global batch."""
    of_rank = [micro_batches(rank, ranks, accumulation, workers, start) for rank in range(ranks)]
    return [
        [
            sample
            for part in range(accumulation)
            for rank in range(ranks)
            for sample in of_rank[rank][step * accumulation + part]
        ]
        for step in range(len(of_rank[0]) // accumulation)
    ]


def expected():
    return [
        [[s // 2, p, *ORDER.locate(s // 2, p)] for p in range(s % 2 * GLOBAL, (s % 2 + 1) * GLOBAL)]
        for s in range(STEPS)
    ]


def test_a_step_takes_the_next_positions_of_its_epoch():
    assert steps_of(ranks=1, accumulation=1, workers=0) == expected()


@pytest.mark.parametrize("workers", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_accumulation_and_workers_change_nothing(ranks, accumulation, workers):
    assert steps_of(ranks, accumulation, workers) == expected()


@given(st.sampled_from([(1, 1), (2, 1), (1, 4), (3, 2), (12, 1)]), st.integers(0, 4), st.integers(0, STEPS))
def test_a_continued_run_sees_the_tail_of_the_whole_one(parts, workers, start):
    assert steps_of(*parts, workers, start) == expected()[start:]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_torch_loads_the_same_sequence_with_any_number_of_workers(workers):
    stages = pipeline(OrderedSource(ORDER, Batches(GLOBAL, 2, 1, 2), 1, STEPS), place, list)
    loaded = list(DataLoader(stages, batch_size=None, num_workers=workers))
    assert loaded == micro_batches(1, 2, 2, 0, start=1)


def test_the_stream_is_a_webdataset_pipeline():
    stages = pipeline(OrderedSource(ORDER, Batches(GLOBAL), 0, 1), place, list)
    assert isinstance(stages, webdataset.DataPipeline)
    (batch,) = stages
    assert len(batch) == GLOBAL


def test_a_sample_comes_at_most_once_an_epoch():
    steps = steps_of(ranks=2, accumulation=1, workers=2)
    for epoch in (0, 1):
        seen = [(shard, number) for step in steps for which, _, shard, number in step if which == epoch]
        assert len(seen) == len(set(seen)) == 2 * GLOBAL


def test_a_run_of_a_million_steps_is_entered_at_once(monkeypatch):
    """Nothing that lies before it is located."""
    located = []
    order = Order([1000] * 1000, seed=0)
    real = order.locate
    monkeypatch.setattr(order, "locate", lambda *place: located.append(place) or real(*place))
    source = OrderedSource(order, Batches(8), 1_000_000, 1_000_001)
    (first, *_), count = list(source()), len(located)
    assert count == 8
    assert first == Position(8, 0, *real(8, 0))


def test_a_batch_that_cannot_be_cut_says_what_can():
    with pytest.raises(UserError, match="12 samples cannot be cut into 5 ranks × 1 accumulation") as caught:
        Batches(12, accumulation=1, rank=0, ranks=5)
    assert caught.value.key == "train.global_batch"
    assert "one of 1, 2, 3, 4, 6, 12, or the batch a multiple of 5" in str(caught.value)
    with pytest.raises(UserError, match="4 samples cannot be cut into 2 ranks × 4 accumulation"):
        Batches(4, accumulation=4, rank=0, ranks=2)


def test_a_batch_larger_than_an_epoch_is_refused():
    with pytest.raises(UserError, match="54 samples a step, but an epoch has only 53; make it smaller") as caught:
        OrderedSource(ORDER, Batches(54), 0, 1)
    assert caught.value.key == "train.global_batch"
