"""The example of a source, through the command, in worker processes too."""

import numpy as np
import pytest

from launchers.cli import main
from shards.dataset import ShardDataset


@pytest.fixture
def arrays(tmp_path, monkeypatch, request):
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        (tmp_path / "frames" / split).mkdir(parents=True)
        for number in range(count):
            found = {"rgb": random.integers(0, 256, (8, 12, 3)).astype(np.uint8)}
            if number % 2:
                found["depth"] = random.uniform(1, 5, (8, 12)).astype(np.float32)
            np.savez(tmp_path / "frames" / split / f"{number}.npz", **found)
    monkeypatch.chdir(request.config.rootpath / "examples")
    return tmp_path


def test_a_class_of_ones_own_is_packed(arrays, capsys):
    call = ["prepare", "my_source:Arrays", str(arrays / "data"), str(arrays / "frames"), "--jobs", "2"]
    assert main([*call, "--samples-per-shard", "3"]) == 0, capsys.readouterr().err
    train = ShardDataset(arrays / "data")
    assert len(train) == 6 and train.key(1) == "1" and set(train[0]) == {"rgb"}
    stored = np.load(arrays / "frames/train/1.npz")
    np.testing.assert_allclose(train[1]["depth"], stored["depth"], atol=0.0006)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_source:Nothing", "SOURCE: my_source has no Nothing; name a class of it: my.module:Source"),
        ("no_module:Nothing", "SOURCE: no_module cannot be imported"),
        ("builtins:list", "SOURCE: list of builtins lacks name, tasks, splits, options, load"),
    ],
)
def test_what_is_no_source_is_told(arrays, capsys, name, said):
    assert main(["prepare", name, str(arrays / "data")]) == 1
    assert said in capsys.readouterr().err
