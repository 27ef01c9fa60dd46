"""Experiments on a data set of a web server: the same bits as on a disk, and one line when the server is gone."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from ranks import launch
from runs import LONG, assert_same_run
from stores import Web
from warm import python

from launchers.cli import main
from trainer.configfile import to_dict
from trainer.experiment import Experiment
from trainer.setting import decisive

pytest.importorskip("aiohttp", reason="the extra `remote` is not installed")


@pytest.fixture
def web(scenes_dataset, tmp_path):
    with Web(scenes_dataset.folder, tmp_path / "control.json") as server:
        yield server


def command(arguments: list[str], **options) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    call = [python(), "-m", "tutelage", *arguments]
    return subprocess.run(call, env=environment, text=True, capture_output=True, timeout=200, **options)


def fetched(web: Web) -> dict[str, int]:
    return {line.split()[0]: count for line, count in web.requests().items() if "MANIFEST" not in line}


def test_two_ranks_that_share_a_cache_train_as_on_a_disk(configs, web, scenes_dataset, tmp_path):
    for name, path in {"disk": scenes_dataset.folder, "web": web.url}.items():
        arguments = ["-m", "tutelage", "train", str(configs / "plain.yaml"), *LONG, f"run.root={tmp_path / name}"]
        process = launch(2, *arguments, f"data.path={path}", f"data.cache={tmp_path / 'cache'}")
        assert process.returncode == 0, process.stderr
    assert_same_run(tmp_path / "disk/scenes/plain/seed-0", tmp_path / "web/scenes/plain/seed-0")
    files = [
        file for shards in scenes_dataset.splits.values() for shard in shards for file in (shard.file, shard.index_file)
    ]
    assert fetched(web) == dict.fromkeys(files, 1), "both ranks together, over four epochs"


def test_teacher_labels_student_and_results_are_those_of_the_disk(configs, web, finished_root, tmp_path):
    overrides = [
        f"run.root={tmp_path / 'runs'}",
        f"data.path={web.url}?token=geheim",
        f"data.cache={tmp_path / 'cache'}",
    ]
    process = command(["run", str(configs / "student.yaml"), *overrides])
    assert process.returncode == 0, process.stderr
    for name in ("teacher", "student"):
        folder, expected_folder = (root / f"scenes/{name}/seed-0" for root in (tmp_path / "runs", finished_root))
        assert_same_run(folder, expected_folder) if name == "teacher" else None
        result, expected = (json.loads((run / "result.json").read_text()) for run in (folder, expected_folder))
        assert result["metrics"] == expected["metrics"] and result["validation_set"] == expected["validation_set"]
    for file in [*(tmp_path / "runs").rglob("result.json"), *(tmp_path / "runs").rglob("labels/*/MANIFEST.json")]:
        assert web.url in file.read_text() and "geheim" not in file.read_text()
    labels = {file.name: file.read_bytes() for file in (finished_root / "scenes/teacher/seed-0/labels/train").iterdir()}
    for shard in (name for name in labels if name.startswith("train-")):
        assert (tmp_path / "runs/scenes/teacher/seed-0/labels/train" / shard).read_bytes() == labels[shard]
    merged = tmp_path / "merged"
    process = command(["label", str(configs / "teacher.yaml"), "--merge", str(merged), *overrides])
    assert process.returncode == 0, process.stderr
    process = command(["inspect", str(merged), "--verify"])
    assert "30 samples verified" in process.stdout, process.stderr


IMPATIENT = """
import sys
from launchers.cli import main
from shards import store

store.PAUSES[:] = [0.1] * len(store.PAUSES)
sys.exit(main(sys.argv[1:]))
"""


def test_a_server_that_disappears_in_mid_epoch(configs, web, scenes_dataset, reference, tmp_path):
    size = sum(shard.bytes for shard in scenes_dataset.shards("train")) * 2 // 3
    overrides = [f"run.root={tmp_path / 'runs'}", f"data.cache={tmp_path / 'cache'}", f"data.cache_size={size}"]
    arguments = [python(), "-c", IMPATIENT, "train", str(configs / "plain.yaml"), *LONG, *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*arguments, f"data.path={web.url}"], env=environment, stderr=subprocess.PIPE, text=True)
    run = tmp_path / "runs/scenes/plain/seed-0"
    while not list((run / "checkpoints").glob("step-*")):
        assert process.poll() is None
    web.end()
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    last = errors.strip().splitlines()[-1]
    shard = rf"tutelage: {re.escape(web.url)}/(train|val)-00000\d\.(tar|index\.json): (\S+: )?"
    assert re.match(shard + "cannot be read, 6 times in a row", last), last
    with Web(scenes_dataset.folder, tmp_path / "again.json") as restarted:
        result = subprocess.run(
            [*arguments, f"data.path={restarted.url}"], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
    assert_same_run(run, reference.folder)


def test_commands_take_a_url(web, configs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    assert main(["inspect", web.url, "--verify", "--picture", str(tmp_path / "sheet.png")]) == 0
    output = capsys.readouterr().out
    assert "30 samples verified" in output and (tmp_path / "sheet.png").stat().st_size
    arguments = [str(configs / "plain.yaml"), f"data.path={web.url}", f"run.root={tmp_path / 'runs'}"]
    assert main(["status", *arguments]) == 0
    assert "pending" in capsys.readouterr().out
    assert main(["grid", str(configs), "--rows", "plain", "--seeds", "1", "--dry-run", *arguments[1:]]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "http://127.0.0.1:9/x/"], "MANIFEST.json: cannot be read, 1 times in a row"),
        (["prepare", "scenes", "s3://bucket/scenes"], "OUT: is a URL; give a folder on a disk"),
        (["label", "CONFIG", "--merge", "s3://bucket/merged"], "--merge: is a URL"),
        (["train", "CONFIG", "run.root=s3://bucket/runs"], "run.root: is a URL"),
        (["train", "CONFIG", "data.cache_size=0GB"], "data.cache_size: '0GB' is not a number of bytes over 0"),
        (["train", "CONFIG", "data.cache_size=lots"], "write one such as 200GB"),
        (["train", "CONFIG", "data.cache=https://a/b"], "data.cache: is a URL"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, message, configs, monkeypatch, capsys):
    monkeypatch.setattr("shards.store.PAUSES", [])
    assert main([word.replace("CONFIG", str(configs / "plain.yaml")) for word in arguments]) == 1
    errors = capsys.readouterr().err
    assert message in errors and len(errors.splitlines()) == 1


def test_another_cache_or_place_is_the_same_run(make, web, scenes_dataset, tmp_path):
    one: Experiment = make("plain", f"data.path={web.url}", f"data.cache={tmp_path / 'cache'}", "data.cache_size=2 GB")
    assert one.manifest.cache.limit == 2_000_000_000 and one.manifest.cache.folder == Path(tmp_path / "cache")
    assert decisive(to_dict(one.config)) == decisive(to_dict(make("plain").config))
    assert one.manifest.sha256 == scenes_dataset.sha256
