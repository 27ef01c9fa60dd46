"""Shards served by nginx: epochs and labelling passes equal those of a disk, with a cache smaller than either."""

import numpy as np
import pytest
from ranks import launch
from stores import NGINX, Nginx

from shards import store
from shards.cache import Cache
from shards.dataset import ShardDataset
from shards.errors import UserError

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")
pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not installed")


@pytest.fixture
def nginx(scenes_dataset, tmp_path):
    with Nginx(scenes_dataset.folder, tmp_path / "nginx") as server:
        yield server


def cache_size(manifest) -> int:
    """Return the bytes of two of the three training shards, with their indexes."""
    shards = manifest.shards("train")
    indexes = sum((manifest.folder / shard.index_file).stat().st_size for shard in shards)
    return 2 * max(shard.bytes for shard in shards) + indexes


def test_an_epoch_with_a_cache_smaller_than_it(nginx, scenes_dataset, tmp_path):
    cache = Cache(tmp_path / "cache", cache_size(scenes_dataset))
    datasets = ShardDataset(nginx.url, cache=cache), ShardDataset(scenes_dataset.folder)
    loaders = [dataset.loader(4, seed=2, steps=18, shuffle_window=1) for dataset in datasets]
    for remote_batch, local_batch in zip(*loaders, strict=True):
        assert remote_batch["key"] == local_batch["key"]
        assert all(np.array_equal(remote_batch[name], local_batch[name]) for name in local_batch if name != "key")
    requests = nginx.requests()
    assert all(1 <= requests[shard.file] <= 3 for shard in scenes_dataset.shards("train")), "at most once an epoch"


def test_a_labelling_pass_of_two_ranks(nginx, finished, scenes_dataset, configs, tmp_path):
    teacher = finished("teacher")
    files = {file.name: file.read_bytes() for file in teacher.labels.glob("train-*")}
    for file in [*teacher.labels.iterdir()]:
        file.unlink()
    cache = [f"data.cache={tmp_path / 'cache'}", f"data.cache_size={cache_size(scenes_dataset)}"]
    arguments = ["-m", "tutelage", "label", str(configs / "teacher.yaml"), f"run.root={tmp_path / 'runs'}"]
    process = launch(2, *arguments, f"data.path={nginx.url}", *cache)
    assert process.returncode == 0, process.stderr
    assert {file.name: file.read_bytes() for file in teacher.labels.glob("train-*")} == files


def test_a_password_and_a_server_that_disappears(scenes_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PAUSES", [0.02])
    (tmp_path / "passwords").write_text("ann:{PLAIN}geheim\n")
    directives = f"auth_basic shards; auth_basic_user_file {tmp_path / 'passwords'};"
    with Nginx(scenes_dataset.folder, tmp_path / "guarded", directives) as server:
        with pytest.raises(
            UserError, match=r"MANIFEST.json: cannot be read \(HTTP status 401\); give this store's usual"
        ):
            ShardDataset(server.url)
        dataset = ShardDataset(server.url.replace("//", "//ann:geheim@"), cache=Cache(tmp_path / "cache"))
        assert dataset[0]
    with pytest.raises(UserError, match=r"/train-000002.index.json: cannot be read, 2 times in a row") as error:
        dataset[23]
    assert "geheim" not in str(error.value)
