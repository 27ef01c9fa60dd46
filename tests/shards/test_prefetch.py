"""Prefetching: it fetches the shards that the order needs next, and none twice that fits into the cache."""

import time
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import Web

from shards import store
from shards.cache import Cache
from shards.dataset import ShardDataset
from shards.manifest import Manifest
from shards.mixture import Mixture
from shards.order import Order
from shards.pack import pack
from shards.prefetch import Prefetch
from shards.read import Readers
from shards.sources.scenes import Scenes

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")

COUNTS = st.lists(st.integers(0, 6), min_size=1, max_size=9).filter(any)


def first_uses(order, epoch: int, position: int, length: int) -> list[tuple[int, int, int]]:
    """Return (epoch, position, shard) of the first use of every shard, by visiting every position."""
    uses, seen = [], set()
    for current_epoch, start in ((epoch, position), (epoch + 1, 0)):
        for index in range(start, length):
            shard, _ = order.locate(current_epoch, index)
            if (current_epoch, shard) not in seen:
                seen.add((current_epoch, shard))
                uses.append((current_epoch, index, shard))
    return uses


@given(COUNTS, st.integers(1, 4), st.integers(0, 3), st.data())
def test_an_order_says_what_it_needs_next(counts, window, epoch, data):
    order = Order(counts, 7, window=window)
    position = data.draw(st.integers(0, order.samples - 1))
    expected = first_uses(order, epoch, position, order.samples)
    assert list(order.upcoming(epoch, position)) == expected
    stages = [order.stage(epoch, place) for place in range(order.samples)]
    shards_by_stage = [
        {order.locate(epoch, p)[0] for p in range(order.samples) if stages[p] == stage} for stage in set(stages)
    ]
    assert sum(map(len, shards_by_stage)) == len(set().union(*shards_by_stage)), (
        "a shard belongs to one stage of an epoch"
    )


@given(COUNTS, COUNTS, st.integers(0, 2), st.data())
def test_a_mixture_says_what_it_needs_next(first, second, epoch, data):
    shards = max(len(first), len(second))
    pools = [counts + [0] * (shards - len(counts)) for counts in (first, second)]
    size = min(4, sum(first) + sum(second))
    if size < 2:
        return
    order = Mixture(pools, size // 2, size, 3, window=2)
    step = data.draw(st.integers(0, order.steps_per_epoch - 1))
    upcoming = [shard for _, _, shard in order.upcoming(epoch, step * size)]
    required = [order.locate(epoch, place)[0] for place in range(step * size, order.steps_per_epoch * size)]
    assert {*required} <= {*upcoming}
    step_shards = {order.locate(epoch, place)[0] for place in range(step * size, (step + 1) * size)}
    steps = [(e, p) for e, p, _ in order.upcoming(epoch, step * size)]
    assert steps == sorted(steps)
    assert step_shards == {s for e, p, s in order.upcoming(epoch, step * size) if (e, p) == (epoch, step * size)}


def test_stored_order_is_shard_after_shard():
    order = Order([2, 0, 3], 0, window=1, shuffle=False)
    assert [tuple(place) for place in islice(order.upcoming(0, 1), 2)] == [(0, 1, 0), (0, 2, 2)]
    assert order.stage(0, 1) != order.stage(0, 2) == order.stage(0, 4)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Manifest:
    """Return 48 frames in 16 shards."""
    size = (32, 64)
    return pack(Scenes(48, 2, size), tmp_path_factory.mktemp("scenes"), size=size, samples_per_shard=3)


@pytest.fixture
def web(scenes, tmp_path):
    with Web(scenes.folder, tmp_path / "control.json") as server:
        yield server


def requested_shards(web: Web) -> dict[str, int]:
    return {line.split()[0]: count for line, count in web.requests().items() if ".tar" in line}


def test_the_next_shards_are_there_before_they_are_asked_for(scenes, web, tmp_path):
    remote = ShardDataset(web.url, cache=Cache(tmp_path / "cache"))
    loader = remote.loader(4, seed=5, shuffle_window=2)
    next(loader)
    deadline = time.monotonic() + 20
    while len(requested_shards(web)) < 16 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(requested_shards(web)) == 16, "with room for all, all of the epoch"
    web.end()
    assert len(list(islice(loader, 11))) == 11
    loader.close()
    assert not list((tmp_path / "cache").glob("*.plan"))


def test_a_cache_smaller_than_an_epoch_fetches_each_shard_once_an_epoch(scenes, web, tmp_path):
    shards = scenes.shards("train")
    indexes = sum((scenes.folder / shard.index_file).stat().st_size for shard in shards)
    cache = Cache(tmp_path / "cache", 7 * max(shard.bytes for shard in shards) + indexes)
    remote, local = ShardDataset(web.url, cache=cache), ShardDataset(scenes.folder)
    for remote_batch, local_batch in zip(
        remote.loader(4, seed=5, steps=24, shuffle_window=3),
        local.loader(4, seed=5, steps=24, shuffle_window=3),
        strict=True,
    ):
        assert remote_batch["key"] == local_batch["key"] and np.array_equal(remote_batch["rgb"], local_batch["rgb"])
        time.sleep(0.02)  # the duration of a step
    counts = requested_shards(web)
    assert len(counts) == 16 and max(counts.values()) <= 2 and sum(counts.values()) <= 2 * 16, counts
    assert sum(counts.values()) < 2 * 16, "what the next epoch needs first was kept"


def test_no_more_is_fetched_than_there_are_steps(scenes, web, tmp_path):
    remote = ShardDataset(web.url, cache=Cache(tmp_path / "cache"))
    order = Order([shard.samples for shard in scenes.shards("train")], 5, window=2)
    expected = {order.locate(0, place)[0] for place in range(8)}
    for _ in remote.loader(4, seed=5, steps=2, shuffle_window=2):
        time.sleep(0.3)
    assert {*requested_shards(web)} == {scenes.shards("train")[number].file for number in expected}


def test_errors_ahead_are_nobodys_until_the_shard_is_needed(scenes, web, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PAUSES", [0.01])
    order = Order([shard.samples for shard in scenes.shards("train")], 5, window=2)
    last_file = scenes.shards("train")[order.locate(0, 47)[0]].file
    web.configure(faults={last_file: ["503"] * 2})
    loader = ShardDataset(web.url, cache=Cache(tmp_path / "cache")).loader(4, seed=5, steps=12, shuffle_window=2)
    next(loader)
    deadline = time.monotonic() + 20
    while web.requests()[f"{last_file} 503"] < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(loader)) == 11 and web.requests()[f"{last_file} whole"] == 1


def test_a_disk_needs_no_threads(scenes):
    with Prefetch([Readers(scenes, "train")]) as ahead:
        assert not ahead
        ahead.update(range(3))
