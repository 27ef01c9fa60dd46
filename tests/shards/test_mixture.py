"""Batches of two pools: each pool has its share, every sample is used once per round, and ranks change nothing."""

import copy
from collections import Counter

import pytest

from shards.errors import UserError
from shards.mixture import Mixture
from shards.stream import Batches, OrderedSource

FEW, MANY = (2, 0, 3, 1), (7, 9, 0, 12)
"""The number of samples of the two pools in each of four shards."""


def mixture(second: int = 5, global_batch_size: int = 8, seed: int = 1) -> Mixture:
    return Mixture([FEW, MANY], second, global_batch_size, seed, window=2)


def is_first(place: tuple[int, int]) -> bool:
    shard, number = place
    return number < FEW[shard]


def run(order: Mixture, epochs: int) -> list[tuple[int, int]]:
    size = order.steps_per_epoch * order.global_batch_size
    return [order.locate(epoch, position) for epoch in range(epochs) for position in range(size)]


@pytest.mark.parametrize("second", [0, 1, 3, 5, 8])
def test_every_batch_holds_its_share_spread_evenly(second):
    places = run(mixture(second), 3)
    for start in range(0, len(places), 8):
        from_second = [not is_first(place) for place in places[start : start + 8]]
        assert sum(from_second) == second
        for half in (from_second[:4], from_second[4:]):  # the parts of two ranks, or of two accumulation steps
            assert abs(2 * sum(half) - second) <= 1


def test_a_pool_is_gone_through_again_and_again_each_sample_once():
    places = run(mixture(), 6)
    for first, samples in ((True, sum(FEW)), (False, sum(MANY))):
        pool = [place for place in places if is_first(place) == first]
        round_count = len(pool) // samples
        rounds = [pool[i * samples : (i + 1) * samples] for i in range(round_count)]
        assert round_count > 1 and all(set(Counter(part).values()) == {1} and len(part) == samples for part in rounds)
        assert len({tuple(part) for part in rounds}) > 1, "rounds have orders of their own"
    assert all(number < FEW[shard] + MANY[shard] for shard, number in places)


def test_the_order_follows_from_seed_and_epoch_alone():
    order, copied_order = mixture(), copy.deepcopy(mixture())
    assert run(order, 2) == run(copied_order, 2)
    assert order.locate(1, 5) == run(mixture(), 2)[order.steps_per_epoch * 8 + 5]
    assert run(mixture(seed=2), 1) != run(order, 1)
    with pytest.raises(IndexError):
        order.locate(0, order.steps_per_epoch * 8)


def test_ranks_see_the_same_global_batches():
    order = mixture()

    def steps(ranks: int, accumulation: int) -> list[list[tuple[int, int]]]:
        places: dict[int, list[tuple[int, int]]] = {}
        for rank in range(ranks):
            batches = Batches(8, accumulation, rank, ranks)
            for place in OrderedSource(order, batches, 0, 9)():
                step = place.epoch * order.steps_per_epoch + place.position // 8
                places.setdefault(step, []).append((place.shard, place.number))
        return [sorted(places[step]) for step in range(9)]

    assert steps(1, 1) == steps(2, 1) == steps(2, 2) == steps(4, 2)


def test_an_empty_pool_is_refused_where_it_is_needed():
    with pytest.raises(UserError, match="the second of two pools is empty, where a batch takes 5 samples of it"):
        Mixture([FEW, (0, 0, 0, 0)], 5, 8, 0)
    assert Mixture([FEW, (0, 0, 0, 0)], 0, 4, 0).steps_per_epoch == 1
