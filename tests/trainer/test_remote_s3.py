"""Shards in an S3 server: read as from a disk, labels written whole or not at all, wrong credentials in one line."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from runs import assert_same_run
from stores import S3
from warm import python

from launchers.cli import main
from shards import store
from shards.cache import Cache
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.inspect import verify
from shards.manifest import Manifest
from shards.pseudolabels import PseudoLabels
from shards.publish import publish
from shards.store import Remote
from trainer.experiment import Experiment
from trainer.pseudolabels.merge import merge
from trainer.pseudolabels.plan import is_labelled
from trainer.pseudolabels.stage import label
from trainer.runs import status
from trainer.stages import check
from trainer.trainstage import train

for module in ("s3fs", "moto", "boto3"):
    pytest.importorskip(module, reason="the extras `remote` and `test` are not installed")


@pytest.fixture(scope="module")
def server(scenes_dataset):
    with S3() as running:
        running.copy(scenes_dataset.folder)
        yield running


@pytest.fixture
def s3(server, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store, "PAUSES", [0.02] * 2)
    clear_connections()
    return server


def clear_connections() -> None:
    """Drop cached connections, which hold the earlier credentials."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def test_an_epoch_is_that_of_the_disk(s3, scenes_dataset, tmp_path):
    remote = ShardDataset(s3.url, cache=Cache(tmp_path / "cache"))
    local = ShardDataset(scenes_dataset.folder)
    loaders = [dataset.loader(4, seed=1, steps=12, shuffle_window=2) for dataset in (remote, local)]
    for remote_batch, local_batch in zip(*loaders, strict=True):
        assert remote_batch["key"] == local_batch["key"]
        assert all(np.array_equal(remote_batch[name], local_batch[name]) for name in local_batch if name != "key")
    assert remote.manifest.sha256 == local.manifest.sha256


def test_a_run_from_s3_writes_its_labels_there(s3, configs, finished_root, tmp_path):
    command = [python(), "-m", "tutelage", "run", str(configs / "student.yaml"), f"run.root={tmp_path / 'runs'}"]
    command += [f"data.path={s3.url}", f"data.cache={tmp_path / 'cache'}"]
    command += ["label.store=s3://bucket/labels/${experiment}/seed-${seed}"]
    process = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=250
    )
    assert process.returncode == 0, process.stderr
    teacher, expected = tmp_path / "runs/scenes/teacher/seed-0", finished_root / "scenes/teacher/seed-0"
    assert_same_run(teacher, expected)
    roots = (tmp_path / "runs", finished_root)
    results = [json.loads((root / "scenes/student/seed-0/result.json").read_text()) for root in roots]
    assert results[0]["metrics"] == results[1]["metrics"]
    stored = s3.files("labels/teacher/seed-0/")
    assert {name: data for name, data in stored.items() if name != "MANIFEST.json"} == {
        file.name: file.read_bytes() for file in (expected / "labels/train").glob("train-*")
    }
    assert stored["MANIFEST.json"] == (teacher / "labels/train/MANIFEST.json").read_bytes()

    # a student elsewhere, without the teacher's run
    shutil.rmtree(tmp_path / "runs")
    process = subprocess.run(
        [*command[:3], "train", *command[4:]], env=os.environ, capture_output=True, text=True, timeout=250
    )
    assert process.returncode == 0, process.stderr
    student = tmp_path / "runs/scenes/student/seed-0"
    assert (student / "order.jsonl").read_bytes() == (finished_root / "scenes/student/seed-0/order.jsonl").read_bytes()
    pseudo = {"semseg": PseudoLabels("s3://bucket/labels/teacher/seed-0", keep=0.4)}
    assert ShardDataset(s3.url, pseudo=pseudo, labels={"semseg": 8}, cache=Cache(tmp_path / "cache"))[0]["semseg"].any()


def test_labels_are_in_the_store_whole_or_not_at_all(s3, finished, monkeypatch):
    teacher: Experiment = finished("teacher", "label.store=s3://bucket/whole")
    assert not is_labelled(teacher), "they are on the disk alone"
    original = Remote.put

    def failing(self, path):
        if path.name == "train-000002.tar":
            raise UserError("cannot be written", file=self)
        original(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "put", failing)
        with pytest.raises(UserError, match=r"train-000002.tar: cannot be written"):
            label(teacher)
    assert status.read(teacher.folder).state == status.FAILED, "although the labels are finished on the disk"
    assert "MANIFEST.json" not in s3.files("whole/") and not is_labelled(teacher)
    with pytest.raises(UserError, match=r"s3://bucket/whole/MANIFEST.json: does not exist"):
        Manifest.load("s3://bucket/whole", kind="labels")
    label(teacher)
    assert is_labelled(teacher)
    assert s3.files("whole/") == {file.name: file.read_bytes() for file in teacher.labels.glob("[MT]*")} | {
        file.name: file.read_bytes() for file in teacher.labels.glob("train-*")
    }
    before = s3.client.head_object(Bucket="bucket", Key="whole/train-000000.tar")["LastModified"]
    label(teacher)
    assert s3.client.head_object(Bucket="bucket", Key="whole/train-000000.tar")["LastModified"] == before


def test_the_same_labels_made_again_are_those_of_the_store(s3, finished, make):
    teacher: Experiment = finished("teacher", "label.store=s3://bucket/same")
    label(teacher)
    shutil.rmtree(teacher.labels)
    again: Experiment = make("teacher", "label.store=s3://bucket/same", "label.threshold=0.8")
    label(make("teacher", "label.threshold=0.8"))
    assert (again.labels / "MANIFEST.json").read_bytes() != s3.files("same/")["MANIFEST.json"]
    label(again)
    assert is_labelled(again)


def test_labels_that_only_the_store_has_are_finished(s3, finished, make, tmp_path):
    overrides = ["label.store=s3://bucket/only", f"data.cache={tmp_path / 'cache'}"]
    teacher: Experiment = finished("teacher", *overrides)
    kept = label(teacher)
    shutil.rmtree(teacher.labels)
    assert is_labelled(teacher)
    check(make("student", *overrides))
    assert label(teacher) == kept and not teacher.labels.exists()
    assert verify(merge(teacher, tmp_path / "merged")) == 30

    entry = json.loads(s3.files("only/")["MANIFEST.json"])
    del entry["source"]["teacher"][
        "job"
    ]  # as earlier versions wrote it: whose labels they are, only the same labels tell
    s3.client.put_object(Bucket="bucket", Key="only/MANIFEST.json", Body=json.dumps(entry).encode())
    assert not is_labelled(teacher)
    check(make("student", *overrides))
    assert label(teacher) == kept and is_labelled(teacher) and teacher.labels.exists()


def test_other_labels_in_the_store_are_known_before_a_teacher_is_trained(s3, finished, make, tmp_path):
    label(finished("teacher", "label.store=s3://bucket/before"))
    overrides = ["label.store=s3://bucket/before", f"run.root={tmp_path / 'untrained'}"]
    check(make("student", *overrides))
    with pytest.raises(UserError, match=r"label.store: holds other labels; set another label.store$"):
        check(make("student", *overrides, "seed=1"))


def test_other_labels_are_not_replaced(s3, finished, make, tmp_path):
    teacher: Experiment = finished("teacher", "label.store=s3://bucket/taken")
    label(teacher)
    other = make(
        "teacher", "label.store=s3://bucket/taken", f"run.root={tmp_path / 'other'}", "train.steps=2", "seed=1"
    )
    train(other)
    with pytest.raises(UserError, match=r"bucket/taken: label.store: holds other labels; set another label.store$"):
        label(other)
    assert not list(other.labels.glob("*.tar")), "it is known before anything is labelled"
    assert status.read(other.folder).state == status.FAILED
    label(make("teacher", f"run.root={tmp_path / 'other'}", "train.steps=2", "seed=1"))
    with pytest.raises(UserError, match=r"holds other labels; delete what is there, or set another label.store$"):
        label(other)
    with pytest.raises(UserError, match="holds other shards"):
        publish(teacher.manifest.folder, Remote("s3://bucket/taken"), [], "give another")


def test_wrong_credentials_are_one_line(server, configs, tmp_path, monkeypatch, capsys):
    missing = {name: value for name, value in server.environment.items() if "KEY" not in name}
    for environment, message in (
        (server.wrong_environment, "cannot be read (PermissionError"),
        (missing, "cannot be read (NoCredentialsError"),
    ):
        for name in server.environment:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        clear_connections()
        assert main(["inspect", server.url]) == 1
        errors = capsys.readouterr().err
        assert message in errors and errors.startswith(f"tutelage: {server.url}/MANIFEST.json: ")
        assert "give this store's usual credentials: AWS_PROFILE" in errors and len(errors.splitlines()) == 1
        assert "wrong" not in errors
    overrides = [f"run.root={tmp_path / 'runs'}", "label.store=s3://bucket/never"]
    assert main(["run", str(configs / "student.yaml"), *overrides]) == 1
    assert "s3://bucket/never/MANIFEST.json: cannot be read" in capsys.readouterr().err
    assert not list((tmp_path / "runs").rglob("step-*")), "before the teacher is trained"


def test_a_store_that_is_not_there(s3, make):
    with pytest.raises(UserError, match=r"s3://none/x/f: cannot be written .*; make the bucket, or correct the URL"):
        Remote("s3://none/x/f").put(Path(__file__))
    with pytest.raises(UserError, match=r"s3://none/x/MANIFEST.json: cannot be read .*; make the bucket, or correct"):
        check(make("student", "label.store=s3://none/x"))  # before the teacher is trained
    with pytest.raises(UserError, match=r"label.store: 'labels' is not a URL; write one such as s3"):
        make("teacher", "label.store=labels")
    s3.client.put_object(Bucket="bucket", Key="other/MANIFEST.json", Body=b"{}")
    with pytest.raises(UserError, match=r"s3://bucket/other/MANIFEST.json: is not a manifest"):
        Manifest.load("s3://bucket/other")


def test_a_shard_that_was_replaced_in_the_store(s3, scenes_dataset, tmp_path):
    shard = scenes_dataset.shards("val")[0]
    data = bytearray((scenes_dataset.folder / shard.file).read_bytes())
    data[700] ^= 1
    s3.client.put_object(Bucket="bucket", Key=f"data/{shard.file}", Body=bytes(data))
    dataset = ShardDataset(s3.url, "val", cache=Cache(tmp_path / "cache"))
    with pytest.raises(
        UserError, match=r"s3://bucket/data/val-000000.tar: \S+: cannot be read, 3 times in a row \(the bytes"
    ):
        dataset[0]
    s3.client.upload_file(str(scenes_dataset.folder / shard.file), "bucket", f"data/{shard.file}")
    assert dataset[0]
