"""Shards by URL: the same samples as from a disk despite a server's faults, or an error of one line."""

import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import Web

from shards import store
from shards.cache import Cache
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.inspect import verify
from shards.manifest import Manifest
from shards.read import check_files
from shards.store import Missing, Remote, address, is_url, on_disk, place, redact

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")


@pytest.fixture
def web(tiny_dataset, tmp_path):
    with Web(tiny_dataset.folder, tmp_path / "control.json") as server:
        yield server


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(store, "PAUSES", [0.02] * 5)
    monkeypatch.setattr(store, "STALL", 1.0)
    monkeypatch.setattr(store, "UNSIZED", 1 << 20)


def assert_same(first: ShardDataset, second: ShardDataset) -> None:
    assert len(first) == len(second)
    for number in range(len(first)):
        left, right = first[number], second[number]
        assert first.key(number) == second.key(number) and left.keys() == right.keys()
        assert all(np.array_equal(left[name], right[name]) for name in left)


def batches(dataset: ShardDataset, **options) -> list[dict]:
    return list(dataset.loader(4, seed=3, steps=9, shuffle_window=2, **options))


def assert_same_batches(first: list[dict], second: list[dict]) -> None:
    assert [batch["key"] for batch in first] == [batch["key"] for batch in second]
    for left, right in zip(first, second, strict=True):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left if name != "key")


def test_samples_order_and_batches_are_those_of_the_disk(tiny_dataset, web, cache):
    local, remote = ShardDataset(tiny_dataset.folder), ShardDataset(web.url, cache=cache)
    assert remote.manifest.sha256 == tiny_dataset.sha256 and remote.tasks == local.tasks
    assert_same_batches(batches(local), batches(remote))
    assert_same(local, remote)
    requests = web.requests()
    assert {name: requests[name] for name in requests if not name.startswith("MANIFEST")} == {
        f"{file} whole": 1 for shard in tiny_dataset.shards("train") for file in (shard.file, shard.index_file)
    }, "each file is fetched once"
    web.end()
    assert_same(local, pickle.loads(pickle.dumps(remote)))  # noqa: S301


def test_loaders_of_torch_fork_and_spawn(tiny_dataset, web, cache):
    remote, local = ShardDataset(web.url, cache=cache), ShardDataset(tiny_dataset.folder)
    assert remote[0].keys() == local[0].keys()  # opens connections, and starts a thread of fsspec
    for method in ("fork", "spawn"):
        shutil.rmtree(cache.folder)
        loader = torch.utils.data.DataLoader(
            remote, batch_size=None, num_workers=2, multiprocessing_context=method, timeout=60
        )
        for number, sample in enumerate(loader):
            assert np.array_equal(sample["rgb"], local[number]["rgb"])


def test_every_byte_is_verified(web, cache, tiny_dataset):
    assert verify(Manifest.load(web.url, cache=cache)) == 17


FAULTS = ["503", "429", "short", "corrupt", "stall", "page", "long"]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_tried_again(fault, web, cache, tiny_dataset):
    files = [name for shard in tiny_dataset.shards("train") for name in (shard.file, shard.index_file)]
    manifest_fault = (
        fault if fault in ("503", "429", "short", "page") else ""
    )  # it has no hash: other damage is not found
    web.configure(
        faults={name: [fault, fault] for name in files} | {"MANIFEST.json": [manifest_fault] if manifest_fault else []}
    )
    assert_same(ShardDataset(tiny_dataset.folder), ShardDataset(web.url, cache=cache))
    requests = web.requests()
    assert all(requests[f"{name} {fault}"] == 2 and requests[f"{name} whole"] == 1 for name in files)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("503", "6 times in a row (HTTP status 503)"),
        ("short", "6 times in a row ("),
        (
            "corrupt",
            "the bytes that arrive differ from the sha256 that the manifest names); copy it to the store again",
        ),
        ("page", "(37 bytes arrived, where the manifest says "),
        ("long", "6 times in a row (more bytes arrive than the "),
        ("404", "is missing"),
        ("403", "(HTTP status 403); give this store's usual credentials"),
    ],
)
def test_what_stays_is_one_line_that_names_shard_and_sample(fault, what, web, cache, tiny_dataset):
    web.configure(faults={"train-000001.tar": [f"{fault}!"]})
    dataset = ShardDataset(web.url, cache=cache)
    assert dataset[0] and dataset[6]
    for _ in range(2):  # errors are not cached
        with pytest.raises(UserError) as caught:
            dataset[4]
        assert str(caught.value).startswith(f"{web.url}/train-000001.tar: train-004: ") and what in str(caught.value)
    tries = 1 if fault in ("404", "403") else 6
    assert web.requests()[f"train-000001.tar {fault}"] == 2 * tries
    web.configure()
    assert dataset[4]["rgb"].shape == (32, 64, 3), "and it goes on where the server recovers"
    assert not list(cache.folder.glob(".*.part")) and not list(cache.folder.glob(".*.lock"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            b"<!DOCTYPE html><title>Sign in</title>",
            r"other than a manifest: '<!DOCTYPE .*'\); correct the URL",
        ),
        (b'{"format": 1, "ki', r"the manifest arrives truncated or damaged, 17 bytes of it\); look at the store"),
    ],
)
def test_what_is_not_a_manifest_is_one_line(content, what, tmp_path):
    (tmp_path / "MANIFEST.json").write_bytes(content)
    with Web(tmp_path, tmp_path / "control.json") as web:
        with pytest.raises(UserError, match=rf"MANIFEST.json: cannot be read, 6 times in a row \(.*{what}"):
            Manifest.load(web.url)
        assert web.requests()["MANIFEST.json whole"] == 6


def test_sizes_that_a_server_reports_are_not_trusted(web, cache, tiny_dataset):
    remote = Manifest.load(web.url, cache=cache)
    web.configure(head=0)
    check_files(remote, "train")
    assert [name for name in web.requests() if ".tar" in name] == ["train-000000.tar whole"], "one is downloaded"
    shutil.rmtree(cache.folder)
    web.configure(head=1, faults={"train-000000.tar": ["page!"]})
    with pytest.raises(UserError, match=r"train-000000.tar: cannot be read, 6 .* \(37 bytes.*; copy it to the store"):
        check_files(remote, "train")
    web.configure()
    for shard in remote.shards("train"):
        for item in remote.items(shard):
            cache.open(item).close()
    web.end()
    check_files(remote, "train")  # what the cache has is not asked for


def test_a_server_that_disappears_is_one_line(web, cache):
    dataset = ShardDataset(web.url, cache=cache)
    assert dataset[0]
    web.end()
    assert dataset[1], "what is in the cache stays"
    with pytest.raises(UserError, match=r"train-000003.tar: train-011: cannot be read, 6 times in a row \(.*Connect"):
        dataset[11]


def test_what_is_no_data_set(web, cache, tmp_path):
    with Web(tmp_path, tmp_path / "other.json") as empty_web:
        url = f"{empty_web.url}/nothing/here"
        with pytest.raises(UserError, match=r"/nothing/here/MANIFEST.json: does not exist; make the data set with"):
            Manifest.load(url, cache=cache)
    with pytest.raises(UserError, match="pipe:// is not a known store"):
        Manifest.load("pipe://cat%20/etc/passwd")
    with pytest.raises(UserError, match="does not exist"):
        Manifest.load("pipe:cat /etc/passwd")
    with pytest.raises(UserError, match="reference:// is not opened: it evaluates templates"):
        Manifest.load("reference://::http://127.0.0.1/x.json")


def test_credentials_come_from_the_url_or_netrc_and_are_not_shown(web, cache, monkeypatch, tmp_path):
    web.configure(user="ann:s3cret/word")
    with pytest.raises(UserError, match=r"MANIFEST.json: cannot be read \(HTTP status 401\); give this store's usual"):
        Manifest.load(web.url, cache=cache)
    url = web.url.replace("//", "//ann:s3cret%2Fword@") + "?token=geheim"
    dataset = ShardDataset(url, cache=cache)
    assert dataset[0]
    web.end()
    with pytest.raises(UserError) as caught:
        dataset[5]
    for text in (str(caught.value), str(dataset.manifest.path), repr(caught.value)):
        assert "geheim" not in text and "s3cret" not in text and "127.0.0.1" in text
    assert address(dataset.manifest.folder) == url

    with Web(web.folder, tmp_path / "again.json") as second_web:
        second_web.configure(user="bob:geheim")
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password geheim\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        assert ShardDataset(second_web.url, cache=cache)[5]


def test_a_store_is_no_folder_on_a_disk_and_is_shown_without_secrets():
    remote = Remote("https://ann:pw@host/b?sig=1")
    with pytest.raises(UserError, match=r"^https://host/b: out: is a URL; give a folder on a disk"):
        on_disk(remote, "out")
    assert repr(remote) == "Remote('https://host/b')"


def test_overrides_are_shown_without_secrets():
    assert redact("data.path=https://ann:pw@host/b?sig=1") == "data.path=https://host/b"
    assert redact("https://ann:pw@host/b?sig=1") == "https://host/b"
    for override in ("seed=1", "data.path=data/x?y", "run.root=/a=b", "train"):
        assert redact(override) == override


def test_names_are_joined_before_a_query_and_inside_an_archive():
    assert (Remote("https://a/b/?sig=x%2F") / "c d.tar").url == "https://a/b/c%20d.tar?sig=x%2F"
    assert (Remote("s3://bucket/data") / "c d.tar").url == "s3://bucket/data/c d.tar"
    assert (Remote("zip://in::s3://b/a.zip") / "x").url == "zip://in/x::s3://b/a.zip"
    assert (Remote("zip://::s3://b/a.zip") / "x").url == "zip://x::s3://b/a.zip"
    assert str(Remote("https://ann:pw@host/b?a=1:2")) == "https://host/b"


def test_a_path_stays_a_path(tiny_dataset, tmp_path):
    for path in ("data/x", "/data/x", "C:/x", "a:b", "s3:/x"):
        assert not is_url(path) and place(path) == Path(path)
    folder = tiny_dataset.folder
    assert place(f"file://{folder}") == folder == place(folder) and not is_url(f"file://{folder}")
    assert not Manifest.load(f"file://{folder}").remote
    with pytest.raises(UserError, match="--merge: is a URL; give a folder on a disk"):
        on_disk("s3://bucket/x", "--merge")


def test_what_fsspec_opens_is_read_and_written(tiny_dataset, cache, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "tiny"), "zip", tiny_dataset.folder)
    dataset = ShardDataset(f"zip://::file://{archive}", cache=cache)
    assert_same(ShardDataset(tiny_dataset.folder), dataset)
    remote_file = Remote(f"dir://new/folder::file://{tmp_path}") / "MANIFEST.json"
    assert not remote_file.exists()
    remote_file.put(tiny_dataset.path)
    assert remote_file.exists() and remote_file.size() == tiny_dataset.path.stat().st_size
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == ["MANIFEST.json"]
    with pytest.raises(UserError, match="cannot be written: a web server only serves files"):
        Remote("http://127.0.0.1/x").put(tiny_dataset.path)


def test_a_stalled_server_is_given_up_in_time(web, monkeypatch):
    monkeypatch.setattr(store, "PAUSES", [])
    web.configure(faults={"*": ["stall!"]})
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be read, 1 times in a row"):
        Remote(f"{web.url}/MANIFEST.json").read_bytes()
    assert time.monotonic() - start < 10
    with pytest.raises(Missing, match="is missing"):
        Remote(f"{web.url}/other").read_bytes()
