"""A node's cache of a store: it keeps to its limit, survives killed processes, and evicts what plans need last."""

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stores import Web

from shards import store
from shards.cache import Cache, Item, default_folder
from shards.cacheplan import FetchPlan
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.scenes import Scenes
from shards.store import Remote

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
READER = str(Path(__file__).parents[1] / "support" / "cachereader.py")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Manifest:
    """Return 24 frames in 8 shards of nearly the same size."""
    size = (32, 64)
    return pack(Scenes(24, 2, size), tmp_path_factory.mktemp("scenes"), size=size, samples_per_shard=3)


@pytest.fixture
def web(scenes, tmp_path):
    with Web(scenes.folder, tmp_path / "control.json") as server:
        yield server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(store, "PAUSES", [0.02] * 5)


def largest_shard(manifest: Manifest) -> int:
    return max(shard.bytes for shard in manifest.shards("train"))


def limit_for(manifest: Manifest, shards: int) -> int:
    """Return a limit in bytes that fits this number of shards and all indexes."""
    indexes = [(manifest.folder / shard.index_file).stat().st_size for shard in manifest.shards("train")]
    return shards * largest_shard(manifest) + sum(indexes)


def items(manifest: Manifest) -> list[Item]:
    return [manifest.items(shard)[1] for shard in manifest.shards("train")]


def start_reader(web: Web, folder: Path, limit: int, seed: int, rounds: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, READER, web.url, str(folder), str(limit), str(seed), str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def samples_hash(dataset: ShardDataset) -> str:
    samples = [array.tobytes() for number in range(len(dataset)) for array in dataset[number].values()]
    return hashlib.sha256(b"".join(samples)).hexdigest()


def test_many_processes_share_a_cache_that_is_smaller_than_an_epoch(scenes, web, tmp_path):
    processes = [start_reader(web, tmp_path / "cache", limit_for(scenes, 3), seed) for seed in range(4)]
    expected = samples_hash(ShardDataset(scenes.folder))
    for process in processes:
        *hashes, excess = process.communicate(timeout=120)[0].split()
        assert process.returncode == 0 and hashes == [expected] * 2
        assert int(excess) <= largest_shard(scenes) // 4, "indexes, whose size is known when they are there"
    assert not list((tmp_path / "cache").glob(".*.part"))


def test_processes_that_are_killed_leave_nothing_that_anyone_trusts(scenes, web, tmp_path):
    web.configure(faults={"*": ["slow"] * 1000})
    cache = tmp_path / "cache"
    for seed in range(6):
        process = start_reader(web, cache, limit_for(scenes, 3), seed)
        while not list(cache.glob(".*.part")):
            time.sleep(0.01)
        time.sleep(0.1 * seed)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    web.configure()
    dataset = ShardDataset(web.url, cache=Cache(cache, limit_for(scenes, 3)))
    assert samples_hash(dataset) == samples_hash(ShardDataset(scenes.folder))
    assert not list(cache.glob(".*.part")) and not list(cache.glob(".*.lock"))
    assert sum(file.stat().st_size for file in cache.iterdir()) <= limit_for(scenes, 3)


def test_whoever_waits_for_a_killed_process_takes_over(scenes, web, tmp_path):
    web.configure(faults={"train-000000.tar": ["stall"]})
    cache = Cache(tmp_path / "cache")
    code = f"""from pathlib import Path; from shards.cache import Cache; from shards.manifest import Manifest
manifest = Manifest.load({web.url!r}, cache=Cache(Path({str(cache.folder)!r})))
manifest.cache.open(manifest.items(manifest.shards('train')[0])[1])"""
    process = subprocess.Popen([sys.executable, "-c", code])
    while not list(cache.folder.glob(".*.part")):
        time.sleep(0.01)
    item = items(Manifest.load(web.url))[0]
    received: list[bytes] = []
    waiter = threading.Thread(target=lambda: received.append(cache.read(item)))
    waiter.start()
    time.sleep(0.3)
    assert not received and web.requests()["train-000000.tar whole"] == 0, "it waits, and asks for nothing itself"
    process.kill()
    process.wait()
    waiter.join(30)
    assert received == [(scenes.folder / "train-000000.tar").read_bytes()]


def test_what_plans_need_last_goes_first_and_what_nobody_needs_before_it(scenes, web, tmp_path):
    manifest = Manifest.load(web.url)
    shards = items(manifest)
    cache = Cache(tmp_path / "cache", sum(item.bytes for item in shards[:4]))
    for item in shards[:4]:
        cache.read(item)
    plan, other_plan = FetchPlan(cache), FetchPlan(cache)
    plan.write([(shards[0], 0), (shards[2], 1000), (shards[4], 2000), (shards[1], 3000)])
    other_plan.write([(shards[1], 500)])  # another process needs it soon

    def cached() -> list[int]:
        return [number for number, item in enumerate(shards) if cache.has(item)]

    assert cache.fetch_ahead(shards[4], 2000) and cached() == [0, 1, 2, 4], "3 is in no plan"
    assert cache.fetch_ahead(shards[5], 800) and cached() == [0, 1, 2, 5], "4 is needed last"
    other_plan.close()
    cache.discard(shards[5])
    plan.write([(shards[0], 0), (shards[2], 1000), (shards[6], 2000), (shards[1], 3000)])
    assert cache.fetch_ahead(shards[5], 500) and cached() == [0, 1, 2, 5]
    assert cache.fetch_ahead(shards[6], 2000) and cached() == [0, 1, 2, 6], "5 is in no plan"
    assert cache.fetch_ahead(shards[7], 2500) and cached() == [0, 2, 6, 7], "1 is needed last now"
    cache.discard(shards[7])
    assert cache.fetch_ahead(shards[3], 0) and cached() == [0, 2, 3, 6]
    plan.write([(item, position) for position, item in enumerate(shards)])
    assert not cache.fetch_ahead(shards[1], 6), "nothing goes for what is needed later"
    cache.read(shards[7])  # a read that is needed now gets space
    assert 7 in cached() and 6 not in cached() and 0 in cached()
    plan.close()
    assert not list(cache.folder.glob("*.plan"))


def test_a_file_needed_soon_is_not_evicted_while_one_needed_later_is_being_fetched(scenes, web, tmp_path):
    shards = items(Manifest.load(web.url))
    cache = Cache(tmp_path / "cache", 2 * largest_shard(scenes))
    cache.read(shards[0])
    plan = FetchPlan(cache)
    plan.write([(shards[1], 0), (shards[0], 1000), (shards[2], 2000)])
    web.configure(faults={scenes.shards("train")[2].file: ["slow"]})
    ahead = threading.Thread(target=cache.fetch_ahead, args=(shards[2], 2000))
    ahead.start()
    lock = cache.folder / f".{shards[2].sha256}.lock"
    while not (lock.exists() and lock.stat().st_size):
        time.sleep(0.01)
    cache.read(shards[1])
    ahead.join()
    assert [cache.has(item) for item in shards[:3]] == [True, True, False]
    plan.close()


def test_a_plan_of_a_dead_process_does_not_count(scenes, web, tmp_path):
    shards = items(Manifest.load(web.url))
    cache = Cache(tmp_path / "cache", sum(item.bytes for item in shards[:2]))
    for item in shards[:2]:
        cache.read(item)
    plan = FetchPlan(cache)
    plan.write([(shards[0], 0)])
    fcntl.flock(plan._file, fcntl.LOCK_UN)  # as the kernel does when a process ends
    os.utime(cache.folder / shards[0].sha256, (1, 1))
    cache.read(shards[2])
    assert not cache.has(shards[0]) and not list(cache.folder.glob("*.plan"))


def test_a_file_larger_than_the_limit_is_one_line(scenes, web, tmp_path):
    cache = Cache(tmp_path / "cache", largest_shard(scenes) // 2)
    with pytest.raises(UserError) as caught:
        ShardDataset(web.url, cache=cache)[0]
    message = str(caught.value)
    assert message.startswith(f"{web.url}/train-000000.tar: ") and "does not fit into the cache" in message
    assert "data.cache_size" in message


def test_a_file_larger_than_the_limit_evicts_nothing(scenes, web, tmp_path):
    shards = items(Manifest.load(web.url))
    cache = Cache(tmp_path / "cache", limit_for(scenes, 2))
    cache.read(shards[0])
    small = Cache(cache.folder, shards[1].bytes - 1)
    with pytest.raises(UserError, match=r"train-000001.tar: does not fit into the cache"):
        small.read(shards[1])
    assert not small.fetch_ahead(shards[1], 0) and cache.has(shards[0])


def test_what_does_not_suffice_is_not_evicted(scenes, web, tmp_path):
    shards = items(Manifest.load(web.url))
    cache = Cache(tmp_path / "cache", 2 * largest_shard(scenes))
    for item in shards[:2]:
        cache.read(item)
    small = Cache(cache.folder, largest_shard(scenes))
    plan = FetchPlan(small)
    plan.write([(shards[1], 0), (shards[2], 1000)])
    assert not small.fetch_ahead(shards[2], 1000), "shard 1 is needed sooner"
    assert all(cache.has(item) for item in shards[:2])
    plan.close()


def test_the_largest_limit_of_live_plans_applies_to_all(scenes, web, tmp_path):
    shards = items(Manifest.load(web.url))
    cache = Cache(tmp_path / "cache", limit_for(scenes, 4))
    small = Cache(cache.folder, limit_for(scenes, 1))
    plan = FetchPlan(cache)
    plan.write([(item, place) for place, item in enumerate(shards[:3])])
    for item in [*shards[:3], shards[4]]:
        small.read(item)
    assert all(cache.has(item) for item in [*shards[:3], shards[4]])
    plan.close()
    small.read(shards[5])
    assert [number for number, item in enumerate(shards) if cache.has(item)] == [5]


def test_a_file_that_the_disk_changed_is_fetched_again(scenes, web, tmp_path):
    cache, local = Cache(tmp_path / "cache"), ShardDataset(scenes.folder)
    assert samples_hash(ShardDataset(web.url, cache=cache)) == samples_hash(local)
    for file in cache.folder.glob("[0-9a-f]*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert samples_hash(ShardDataset(web.url, cache=cache)) == samples_hash(local)
    assert web.requests()["train-000000.tar whole"] == 2


def test_a_quota_that_is_less_than_the_limit(scenes, web, tmp_path, monkeypatch):
    shards, quota = items(Manifest.load(web.url)), 3 * largest_shard(scenes)
    cache, original_fetch = Cache(tmp_path / "cache"), Remote.fetch

    def fetch_within_quota(self, path, sha256, size=None):
        if sum(file.stat().st_size for file in path.parent.glob("[0-9a-f]*")) + size > quota:
            path.write_bytes(b"some of it")
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))
        original_fetch(self, path, sha256, size)

    monkeypatch.setattr(Remote, "fetch", fetch_within_quota)
    for item in shards:
        assert len(cache.read(item)) == item.bytes
    assert len(list(cache.folder.glob("[0-9a-f]*"))) == 3
    quota = 0
    with pytest.raises(UserError, match=r"train-000000.tar: does not fit into the cache .*quota"):
        cache.read(shards[0])
    assert [file.name for file in cache.folder.iterdir()] == [".lock"]


def test_a_disk_that_is_full(scenes, web, tmp_path):
    """A real disk: a tmpfs with space for a few shards, in a separate mount namespace."""
    unshare = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    folder = tmp_path / "disk"
    folder.mkdir()
    script = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'

    def run(size: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, READER, web.url, str(folder / "cache"), str(10**9), "0", "2"]
        command = [*unshare, "sh", "-c", script, "sh", str(size), str(folder), *command]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    result = run(4 * (largest_shard(scenes) + 4096) + 8 * 4096 * 2)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [samples_hash(ShardDataset(scenes.folder))] * 2 + ["0"]
    result = run(largest_shard(scenes) // 2)
    assert result.returncode == 1 and "does not fit into the cache" in result.stderr and "/train-0" in result.stderr


def test_a_folder_that_cannot_be_used(scenes, web, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, OSError), match="file"):
        ShardDataset(web.url, cache=Cache(tmp_path / "file" / "cache"))[0]
    item = items(Manifest.load(web.url))[0]
    with pytest.raises(UserError, match="has no sha256 in the manifest"):
        Item(item.remote, "../../etc/passwd", 1)


def test_where_it_is_by_default(monkeypatch):
    for name in ("TUTELAGE_CACHE", "SLURM_JOB_ID", "XDG_CACHE_HOME", "SLURM_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_folder() == Path("/home/ann/.cache/tutelage")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_folder() == Path("/cache/tutelage")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_TMPDIR", "/local/7")
    assert default_folder() == Path(f"/local/7/tutelage-{os.getuid()}")
    monkeypatch.setenv("TUTELAGE_CACHE", "/fast")
    assert default_folder() == Path("/fast")
