"""A node's cache of a store: within its limit, whole whoever dies, and without what the plans need last."""

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
from shards.cache import Cache, Item, Plan, default_folder
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
    """24 frames in 8 shards of nearly the same size."""
    size = (32, 64)
    return pack(Scenes(24, 2, size), tmp_path_factory.mktemp("scenes"), size=size, samples_per_shard=3)


@pytest.fixture
def web(scenes, tmp_path):
    with Web(scenes.folder, tmp_path / "control.json") as server:
        yield server


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(store, "PAUSES", [0.02] * 5)


def largest(manifest: Manifest) -> int:
    return max(shard.bytes for shard in manifest.shards("train"))


def room(manifest: Manifest, shards: int) -> int:
    """A limit that so many shards fit into, with all indexes."""
    indexes = [(manifest.folder / shard.index_file).stat().st_size for shard in manifest.shards("train")]
    return shards * largest(manifest) + sum(indexes)


def items(manifest: Manifest) -> list[Item]:
    return [manifest.items(shard)[1] for shard in manifest.shards("train")]


def reader(web: Web, folder: Path, limit: int, seed: int, rounds: int = 2) -> subprocess.Popen[str]:
    call = [sys.executable, READER, web.url, str(folder), str(limit), str(seed), str(rounds)]
    return subprocess.Popen(call, stdout=subprocess.PIPE, text=True)


def samples_hash(dataset: ShardDataset) -> str:
    samples = [array.tobytes() for number in range(len(dataset)) for array in dataset[number].values()]
    return hashlib.sha256(b"".join(samples)).hexdigest()


def test_many_processes_share_a_cache_that_is_smaller_than_an_epoch(scenes, web, tmp_path):
    readers = [reader(web, tmp_path / "cache", room(scenes, 3), seed) for seed in range(4)]
    wanted = samples_hash(ShardDataset(scenes.folder))
    for process in readers:
        *hashes, over = process.communicate(timeout=120)[0].split()
        assert process.returncode == 0 and hashes == [wanted] * 2
        assert int(over) <= largest(scenes) // 4, "indexes, whose size is known when they are there"
    assert not list((tmp_path / "cache").glob(".*.part"))


def test_processes_that_are_killed_leave_nothing_that_anyone_trusts(scenes, web, tmp_path):
    web.tell(faults={"*": ["slow"] * 1000})
    cache = tmp_path / "cache"
    for seed in range(6):
        process = reader(web, cache, room(scenes, 3), seed)
        while not list(cache.glob(".*.part")):
            time.sleep(0.01)
        time.sleep(0.1 * seed)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    web.tell()
    dataset = ShardDataset(web.url, cache=Cache(cache, room(scenes, 3)))
    assert samples_hash(dataset) == samples_hash(ShardDataset(scenes.folder))
    assert not list(cache.glob(".*.part")) and not list(cache.glob(".*.lock"))
    assert sum(file.stat().st_size for file in cache.iterdir()) <= room(scenes, 3)


def test_whoever_waits_for_a_killed_process_takes_over(scenes, web, tmp_path):
    web.tell(faults={"train-000000.tar": ["stall"]})
    cache = Cache(tmp_path / "cache")
    code = f"""from pathlib import Path; from shards.cache import Cache; from shards.manifest import Manifest
manifest = Manifest.load({web.url!r}, cache=Cache(Path({str(cache.folder)!r})))
manifest.cache.open(manifest.items(manifest.shards('train')[0])[1])"""
    process = subprocess.Popen([sys.executable, "-c", code])
    while not list(cache.folder.glob(".*.part")):
        time.sleep(0.01)
    item = items(Manifest.load(web.url))[0]
    got: list[bytes] = []
    waiting = threading.Thread(target=lambda: got.append(cache.read(item)))
    waiting.start()
    time.sleep(0.3)
    assert not got and web.requests()["train-000000.tar whole"] == 0, "it waits, and asks for nothing itself"
    process.kill()
    process.wait()
    waiting.join(30)
    assert got == [(scenes.folder / "train-000000.tar").read_bytes()]


def test_what_plans_need_last_goes_first_and_what_nobody_needs_before_it(scenes, web, tmp_path):
    manifest = Manifest.load(web.url)
    shards = items(manifest)
    cache = Cache(tmp_path / "cache", sum(item.bytes for item in shards[:4]))
    for item in shards[:4]:
        cache.read(item)
    mine, other = Plan(cache), Plan(cache)
    mine.write([(shards[0], 0), (shards[2], 1000), (shards[4], 2000), (shards[1], 3000)])
    other.write([(shards[1], 500)])  # another process needs it soon

    def left() -> list[int]:
        return [number for number, item in enumerate(shards) if cache.has(item)]

    assert cache.fetch_ahead(shards[4], 2000) and left() == [0, 1, 2, 4], "3 is in no plan"
    assert cache.fetch_ahead(shards[5], 800) and left() == [0, 1, 2, 5], "4 is needed last"
    other.close()
    cache.discard(shards[5])
    mine.write([(shards[0], 0), (shards[2], 1000), (shards[6], 2000), (shards[1], 3000)])
    assert cache.fetch_ahead(shards[5], 500) and left() == [0, 1, 2, 5]
    assert cache.fetch_ahead(shards[6], 2000) and left() == [0, 1, 2, 6], "5 is in no plan"
    assert cache.fetch_ahead(shards[7], 2500) and left() == [0, 2, 6, 7], "1 is needed last now"
    cache.discard(shards[7])
    assert cache.fetch_ahead(shards[3], 0) and left() == [0, 2, 3, 6]
    mine.write([(item, place) for place, item in enumerate(shards)])
    assert not cache.fetch_ahead(shards[1], 6), "nothing goes for what is needed later"
    cache.read(shards[7])  # who needs it now gets it
    assert 7 in left() and 6 not in left() and 0 in left()
    mine.close()
    assert not list(cache.folder.glob("*.plan"))


def test_a_plan_of_a_dead_process_does_not_count(scenes, web, tmp_path):
    shards = items(Manifest.load(web.url))
    cache = Cache(tmp_path / "cache", sum(item.bytes for item in shards[:2]))
    for item in shards[:2]:
        cache.read(item)
    plan = Plan(cache)
    plan.write([(shards[0], 0)])
    fcntl.flock(plan._file, fcntl.LOCK_UN)  # as the kernel does when a process ends
    os.utime(cache.folder / shards[0].sha256, (1, 1))
    cache.read(shards[2])
    assert not cache.has(shards[0]) and not list(cache.folder.glob("*.plan"))


def test_a_file_larger_than_the_limit_is_one_line(scenes, web, tmp_path):
    cache = Cache(tmp_path / "cache", largest(scenes) // 2)
    with pytest.raises(UserError) as caught:
        ShardDataset(web.url, cache=cache)[0]
    said = str(caught.value)
    assert said.startswith(f"{web.url}/train-000000.tar: ") and "does not fit into the cache" in said
    assert "data.cache_size" in said


def test_a_file_that_the_disk_changed_is_fetched_again(scenes, web, tmp_path):
    cache, local = Cache(tmp_path / "cache"), ShardDataset(scenes.folder)
    assert samples_hash(ShardDataset(web.url, cache=cache)) == samples_hash(local)
    for file in cache.folder.glob("[0-9a-f]*"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert samples_hash(ShardDataset(web.url, cache=cache)) == samples_hash(local)
    assert web.requests()["train-000000.tar whole"] == 2


def test_a_quota_that_is_less_than_the_limit(scenes, web, tmp_path, monkeypatch):
    shards, allowed = items(Manifest.load(web.url)), 3 * largest(scenes)
    cache, fetch = Cache(tmp_path / "cache"), Remote.fetch

    def limited(self, path, sha256, size=None):
        if sum(file.stat().st_size for file in path.parent.glob("[0-9a-f]*")) + size > allowed:
            path.write_bytes(b"some of it")
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))
        fetch(self, path, sha256, size)

    monkeypatch.setattr(Remote, "fetch", limited)
    for item in shards:
        assert len(cache.read(item)) == item.bytes
    assert len(list(cache.folder.glob("[0-9a-f]*"))) == 3
    allowed = 0
    with pytest.raises(UserError, match=r"train-000000.tar: does not fit into the cache .*quota"):
        cache.read(shards[0])
    assert [file.name for file in cache.folder.iterdir()] == [".lock"]


def test_a_disk_that_is_full(scenes, web, tmp_path):
    """A real one: a memory disk of a few shards, in a mount namespace of its own."""
    alone = ["unshare", "--mount", "--map-root-user"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    folder = tmp_path / "disk"
    folder.mkdir()
    script = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'

    def run(size: int) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, READER, web.url, str(folder / "cache"), str(10**9), "0", "2"]
        call = [*alone, "sh", "-c", script, "sh", str(size), str(folder), *call]
        return subprocess.run(call, capture_output=True, text=True, timeout=120)

    done = run(4 * (largest(scenes) + 4096) + 8 * 4096 * 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [samples_hash(ShardDataset(scenes.folder))] * 2 + ["0"]
    done = run(largest(scenes) // 2)
    assert done.returncode == 1 and "does not fit into the cache" in done.stderr and "/train-0" in done.stderr


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
