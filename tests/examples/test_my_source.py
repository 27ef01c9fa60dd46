"""The example of a source, through the command, also in worker processes."""

import re

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
            frame = {"rgb": random.integers(0, 256, (8, 12, 3)).astype(np.uint8)}
            if number % 2:
                frame["depth"] = random.uniform(1, 5, (8, 12)).astype(np.float32)
            if number % 3 < 2:
                frame["semseg"] = random.integers(0, 3, (8, 12)).astype(np.uint8)
            np.savez(tmp_path / "frames" / split / f"{number}.npz", **frame)
    monkeypatch.chdir(request.config.rootpath / "examples")
    return tmp_path


@pytest.fixture
def prepare(arrays):
    def prepare(*options: str) -> int:
        return main(["prepare", "my_source:Arrays", str(arrays / "data"), str(arrays / "frames"), *options])

    return prepare


def test_a_class_of_ones_own_is_packed(arrays, prepare, capsys):
    assert prepare("--jobs", "2", "--samples-per-shard", "3") == 0, capsys.readouterr().err
    train = ShardDataset(arrays / "data")
    assert len(train) == 6 and train.key(1) == "train_1"
    assert [set(train[n]) for n in (0, 1, 2)] == [{"rgb", "semseg"}, {"rgb", "semseg", "depth"}, {"rgb"}]
    stored = np.load(arrays / "frames/train/1.npz")
    np.testing.assert_allclose(train[1]["depth"], stored["depth"], atol=0.0006)
    np.testing.assert_array_equal(train[1]["semseg"], stored["semseg"])
    assert train.tasks[0].colours[0] == (128, 64, 128)


def test_a_damaged_archive_is_left_out_and_named(arrays, prepare, capsys):
    damaged = arrays / "frames/train/3.npz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    assert prepare("--jobs", "2") == 1
    captured = capsys.readouterr()
    assert re.search(r"left out: my_source.py:\d+: train/train_3: load raised BadZipFile: ", captured.out)
    assert "1 of 8 frames could not be read and are left out" in captured.err and "Traceback" not in captured.err
    assert len(ShardDataset(arrays / "data")) == 5


def test_a_strict_call_ends_there_and_debug_shows_the_traceback(arrays, prepare, capsys):
    damaged = arrays / "frames/train/3.npz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    assert prepare("--strict", "--debug") == 1
    errors = capsys.readouterr().err
    assert "Traceback" in errors and errors.splitlines()[-1].startswith("tutelage: my_source.py:")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_source:Nothing out", r"SOURCE: my_source \(\S*my_source.py\) has no Nothing; "),
        ("no_module:Nothing out", "SOURCE: no_module cannot be imported"),
        ("builtins:list out", "builtins: list: lacks name, tasks, splits, options, load; give it what"),
        ("my_source:CLASSES out", "my_source.py: CLASSES: is a dict, which cannot be called; name a class"),
        (
            "my_source:Arrays out",
            r"my_source.py: Arrays: cannot be made of 0 arguments .*; call prepare .* OUT FOLDER$",
        ),
        ("my_source:Arrays out a b", "my_source.py: Arrays: cannot be made of 2 arguments"),
        ("my_source:Arrays out nowhere", "my_source.py: Arrays: no frames were found; check the source's path"),
        (
            "broken:Source out",
            r"broken.py:3: SOURCE: broken cannot be imported .*task depth: scale 'a' is not a number",
        ),
        ("lost:Source out", r"lost.py:1: SOURCE: lost cannot be imported .*imports nowhere_at_all"),
        ("bad:Source out", "bad.py:3: Source: its constructor raised ZeroDivisionError: division by zero; correct the"),
    ],
)
def test_what_is_no_source_is_told(arrays, capsys, monkeypatch, name, said):
    monkeypatch.syspath_prepend(arrays)
    (arrays / "broken.py").write_text("from shards.tasks import Task\n\nTask('depth', 'scalar', scale='a')\n")
    (arrays / "lost.py").write_text("import nowhere_at_all\n")
    (arrays / "bad.py").write_text("class Source:\n    def __init__(self):\n        1 / 0\n")
    assert main(["prepare", *name.split()]) == 1
    err = capsys.readouterr().err.strip()
    assert re.search(said, err) and err.count("\n") == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("my_source.Arrays out", "a source of your own is named with a colon: my.module:Source"),
        ("my_source:Arrays", r"the following arguments are required: OUT$"),
    ],
)
def test_a_call_that_argparse_refuses(arrays, capsys, call, said):
    with pytest.raises(SystemExit):
        main(["prepare", *call.split()])
    assert re.search(said, capsys.readouterr().err.strip())
