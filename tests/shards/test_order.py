"""The order of samples: pinned by recorded values, complete, mixed, and small in memory."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import UserError
from shards.order import Order, mix, mix_range, permutation

orders = st.builds(
    Order,
    st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any),
    seed=st.integers(0, 2**64 - 1),
    window=st.integers(1, 14),
    shuffle=st.booleans(),
)


def epoch_of(order, epoch):
    return [order.locate(epoch, position) for position in range(order.samples)]


def all_samples(order):
    return [(shard, number) for shard, count in enumerate(order.counts) for number in range(count)]


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_of_no_shard_is_refused(window):
    with pytest.raises(UserError, match=f"shuffle_window: {window} shards; give 1 or more"):
        Order([3, 4], 0, window=window)


@given(orders, st.integers(0, 1000))
def test_every_sample_comes_exactly_once_an_epoch(order, epoch):
    assert sorted(epoch_of(order, epoch)) == all_samples(order)


@given(orders, st.integers(0, 1000), st.randoms())
def test_a_position_needs_none_before_it(order, epoch, random):
    expected = epoch_of(order, epoch)
    fresh = Order(order.counts, order.seed, window=order.window, shuffle=order.shuffle)
    queries = [(random.choice([epoch, epoch + 1]), random.randrange(order.samples)) for _ in range(20)]
    for queried_epoch, position in queries:
        sample = fresh.locate(queried_epoch, position)
        if queried_epoch == epoch:
            assert sample == expected[position]


@given(orders, st.integers(0, 1000))
def test_samples_are_mixed_within_a_window_of_shards(order, epoch):
    """Therefore at most ``window`` shards are open at once."""
    shards = [shard for shard, _ in epoch_of(order, epoch)]
    distinct_shards = list(dict.fromkeys(shards))
    nonempty = [int(shard) for shard in order._epoch(epoch)[0] if order.counts[shard]]
    assert sorted(distinct_shards) == sorted(nonempty)
    windows = [set(order._epoch(epoch)[0][i : i + order.window]) for i in range(0, len(order.counts), order.window)]
    start = 0
    for window in windows:
        size = sum(int(order.counts[shard]) for shard in window)
        assert set(shards[start : start + size]) <= window
        start += size


@given(orders, st.integers(0, 10))
def test_it_travels_to_another_process(order, epoch):
    copy = pickle.loads(pickle.dumps(order))  # noqa: S301
    assert epoch_of(copy, epoch) == epoch_of(order, epoch)


def test_without_shuffling_samples_come_as_they_stand():
    order = Order([3, 0, 2, 4], seed=7, window=2, shuffle=False)
    assert epoch_of(order, 0) == epoch_of(order, 5) == all_samples(order)


def test_positions_end_with_the_epoch():
    order = Order([2, 3], seed=0)
    for position in (-1, 5):
        with pytest.raises(IndexError, match=f"position {position} of an epoch of 5 samples"):
            order.locate(0, position)
    with pytest.raises(IndexError):
        Order([], seed=0).locate(0, 0)


def test_seeds_and_epochs_give_other_orders():
    counts = [20] * 10
    distinct_orders = {tuple(epoch_of(Order(counts, seed, window=3), epoch)) for seed in range(5) for epoch in range(5)}
    assert len(distinct_orders) == 25


def test_every_sample_comes_equally_often_at_a_position():
    """χ² of 12 samples in shards of 4, over 2400 epochs: 11 degrees of freedom, 0.1 % of the probability is above 31.3.

    Windows have 2 of the 3 shards: the last window is a single shard, and every shard must be there equally often.
    """
    order, epochs = Order([4, 4, 4], seed=6, window=2), 2400
    for position in (0, 8, 11):
        samples = [shard * 4 + number for shard, number in (order.locate(epoch, position) for epoch in range(epochs))]
        counts = np.bincount(samples, minlength=12)
        assert np.square(counts - epochs / 12).sum() / (epochs / 12) < 31.3


@pytest.mark.parametrize("window", [8, 32])
def test_a_window_is_mixed_through(window):
    """64 samples in a row come from as many shards as 64 draws from the window would, on average, and neighbours in
    storage are separated. A window with its samples in blocks, or in ascending order, would fail."""
    order = Order([64] * 64, seed=2, window=window)
    places = np.array([order.locate(0, position) for position in range(order.samples)])
    shards = places[:, 0].reshape(-1, 64)
    distinct = np.mean([len(set(batch)) for batch in shards])
    assert distinct == pytest.approx(window * (1 - (1 - 1 / window) ** 64), rel=0.02)
    storage = places[:, 0] * 64 + places[:, 1]
    assert (np.abs(np.diff(storage)) == 1).mean() < 3 * 2 / (window * 64)


def test_the_order_is_what_it_was():
    """If these values change, continued runs and published seeds get other samples."""
    order = Order([4, 1, 0, 5, 3], seed=42, window=2)
    # fmt: off
    assert epoch_of(order, 0) == [
        (0, 3), (0, 2), (0, 0), (0, 1), (3, 4), (3, 1), (4, 0), (3, 0), (4, 1), (3, 3), (4, 2), (3, 2), (1, 0),
    ]
    assert epoch_of(order, 1) == [
        (0, 0), (3, 2), (0, 1), (3, 4), (3, 3), (0, 3), (3, 1), (0, 2), (3, 0), (4, 2), (4, 1), (1, 0), (4, 0),
    ]
    # fmt: on
    assert Order([256] * 1000, seed=1).locate(3, 123_456) == (702, 216)


def test_hashes_are_splitmix64():
    """The values that the algorithm's other implementations publish for the seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert mix_range(1234567, 4).tolist() == published
    assert mix(1234567) == published[0]
    assert mix_range(mix(1, 2, 3), 2).tolist() == [2399657773382937285, 8067101194408944102]
    assert mix(-1) == mix(2**64 - 1)


def test_permutations_are_uniform():
    """χ² of where each of 4 items lands, over 24 permutations: 23 degrees of freedom, 0.1 % is above 49.7."""
    trials = 24_000
    permutations, counts = np.unique([permutation(mix(9, i), 4) for i in range(trials)], axis=0, return_counts=True)
    assert len(permutations) == 24
    assert np.square(counts - trials / 24).sum() / (trials / 24) < 49.7


def test_memory_does_not_grow_with_the_samples():
    """A million shards of a thousand frames: some bytes per shard, none per frame."""
    tracemalloc.start()
    order = Order(np.full(1_000_000, 1000), seed=3)
    places = [order.locate(epoch, position) for epoch in (0, 9) for position in (0, 999_999_999)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(places)) == 4
    assert peak < 100e6
