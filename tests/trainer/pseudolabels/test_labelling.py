"""The teacher's labelling pass: which frames it labels, how, and what it does not repeat."""

import errno
import json
import logging
import os
import shutil
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from framekeys import keys_by_shard

import trainer.pseudolabels.labeller
import trainer.pseudolabels.merge
from shards.codec import decode_confidence
from shards.errors import UserError
from shards.inspect import verify
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.read import Readers
from trainer.augment import to_tensors
from trainer.experiment import Experiment
from trainer.pseudolabels.labeller import Labeller
from trainer.pseudolabels.merge import merge
from trainer.pseudolabels.stage import label
from trainer.runs import artifacts, checkpoint
from trainer.runs.lease import hold_lease
from trainer.trainstage import train


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def keys(path: Path) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in members(path)))


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """A list that grows: the numbers of the shards that are labelled."""
    numbers: list[int] = []
    original = Labeller.outputs

    def record(self, number):
        numbers.append(number)
        return original(self, number)

    monkeypatch.setattr(Labeller, "outputs", record)
    return numbers


# What is labelled


def test_label_shards_hold_the_labelled_keys_of_their_source_in_its_order(finished, scenes_dataset):
    teacher = finished("teacher")
    frames = teacher.training_frames()
    expected = keys_by_shard(frames, frames.to_label(["rgb", "depth"], ["semseg"]))
    sources = scenes_dataset.shards("train")
    assert sorted(path.name for path in teacher.labels.glob("*.tar")) == [shard.file for shard in sources]
    assert [keys(teacher.labels / shard.file) for shard in sources] == expected
    assert sum(map(len, expected)) == 16 - 8


def test_the_manifest_names_teacher_and_source(finished, scenes_dataset):
    teacher = finished("teacher")
    manifest = Manifest.load(teacher.labels, kind="labels")
    assert manifest.source["manifest_sha256"] == scenes_dataset.sha256
    facts = artifacts.read_exported(teacher.checkpoints / "last")
    assert manifest.source["teacher"]["checkpoint_sha256"] == facts["sha256"]
    assert manifest.source["teacher"]["config"]["experiment"] == "teacher"
    assert [task.name for task in manifest.tasks] == ["semseg"], "depth is its input"
    assert verify(manifest) == 8


def test_a_label_is_what_the_network_says_with_its_softmax(finished, scenes_dataset):
    teacher = finished("teacher")
    network, _ = checkpoint.load_exported(teacher.checkpoints / "last")
    reader = Readers(scenes_dataset, "train")[1]
    stored = members(teacher.labels / "train-000001.tar")
    key = keys(teacher.labels / "train-000001.tar")[0]
    tensors = to_tensors(reader.decode(reader.positions[key]), scenes_dataset.tasks)
    with torch.no_grad():
        inputs = {"rgb": tensors["rgb"][None] / 255, "depth": tensors["depth"][None]}
        confidence, classes = network.eval()(inputs).final["semseg"].softmax(1).max(1)
    decoded = teacher.tasks[0].storage.decode(stored[f"{key}.semseg.png"])
    assert (decoded == classes[0].numpy()).mean() > 0.999, "but for ties, since it was in a larger batch"
    assert np.abs(decode_confidence(stored[f"{key}.semseg.conf.png"]) - confidence[0].numpy()).max() < 2e-5


def test_kept_json_agrees_with_what_the_student_reads(finished, scenes_dataset):
    for threshold in (0.3, 0.5):
        teacher = finished("teacher", f"label.threshold={threshold}")
        entry = label(teacher)["semseg"]
        assert entry == json.loads((teacher.labels / "kept.json").read_text())["semseg"]
        task = scenes_dataset.task("semseg")
        labels = LabelShards(teacher.labels, scenes_dataset, "train", task, threshold)
        read_labels = np.stack([labels.read(n, key) for n in range(3) for key in labels.keys(n)])
        assert (entry["frames"], entry["pixels"]) == (8, 8 * 32 * 64)
        assert entry["kept"] == (read_labels != 255).mean()
    assert 0 < entry["kept"] < 1, "the test shows nothing otherwise"


def test_depth_is_labelled_without_a_confidence(make, configs, tmp_path, scenes_dataset):
    """For a teacher that predicts depth from RGB and segmentation, and for its student."""
    text = f"inherits: {configs / 'base.yaml'}\nlabels: {{semseg: 16, depth: 8}}\ntrain: {{steps: 2}}\n"
    (tmp_path / "sees.yaml").write_text(text + "inputs: [rgb, semseg]\n")
    (tmp_path / "taught.yaml").write_text(text + "pseudo: {depth: {teacher: sees.yaml, keep: all}}\n")
    teacher = Experiment(tmp_path / "sees.yaml", [f"run.root={tmp_path}"])
    train(teacher)
    assert label(teacher) == {"depth": {"frames": 8, "pixels": 8 * 32 * 64}}
    stored = members(teacher.labels / "train-000000.tar")
    assert stored and all(name.endswith(".depth.png") for name in stored)
    student = Experiment(tmp_path / "taught.yaml", [f"run.root={tmp_path}"])
    frames = student.training_frames()
    assert frames.pseudo["depth"].sum() == frames.visible["depth"].sum() == 8
    train(student)
    with pytest.raises(UserError, match=r"has no confidence .*; set pseudo\.depth\.keep=all"):
        train(
            Experiment(tmp_path / "taught.yaml", [f"run.root={tmp_path}", "pseudo.depth.keep=0.9", "experiment=other"])
        )


def test_a_sparse_target_is_labelled_where_data_lacks_it(make, tiny_dataset, tmp_path):
    """12 frames, 8 with semseg, 9 with depth, 6 with both: the 3 with depth alone are labelled."""
    overrides = [f"data.path={tiny_dataset.folder}", "labels.semseg=null", "labels.depth=null", "train.steps=1"]
    teacher = make("teacher", *overrides, "evaluate.every=0", "train.global_batch_size=2")
    train(teacher)
    assert label(teacher)["semseg"]["frames"] == 3
    labelled = [key for n in range(4) for key in keys(teacher.labels / f"train-00000{n}.tar")]
    assert labelled == [f"train-{i:03d}" for i in (2, 5, 8)]


# What is not repeated


def test_finished_labels_are_left_alone(finished, passes):
    teacher = finished("teacher")
    before = {path: path.stat().st_mtime_ns for path in teacher.labels.iterdir()}
    label(teacher)
    assert passes == [] and before == {path: path.stat().st_mtime_ns for path in teacher.labels.iterdir()}


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "no index"])
def test_only_shards_that_are_not_whole_are_done_again_and_the_same(finished, passes, damage):
    teacher = finished("teacher")
    before = {path.name: path.read_bytes() for path in teacher.labels.iterdir() if path.name != "MANIFEST.json"}
    (teacher.labels / "MANIFEST.json").unlink()  # it comes last, so the pass was interrupted
    shard = teacher.labels / "train-000001.tar"
    data = bytearray(shard.read_bytes())
    if damage == "missing":
        shard.unlink()
    elif damage == "no index":
        (teacher.labels / "train-000001.index.json").unlink()
    else:
        data[700] ^= 1
        shard.write_bytes(data if damage == "flipped" else data[:-1024])
    (teacher.labels / ".train-000002.tar.ab12.tmp").write_text("of a killed writer")
    label(teacher)
    assert passes == [1]
    assert verify(Manifest.load(teacher.labels, kind="labels")) == 8
    (teacher.labels / "MANIFEST.json").unlink()
    assert before == {path.name: path.read_bytes() for path in teacher.labels.iterdir()}


def test_labels_of_another_checkpoint_are_replaced(finished, passes):
    teacher = finished("teacher")
    network, facts = checkpoint.load_exported(teacher.checkpoints / "last")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    before = (teacher.labels / "train-000000.tar").read_bytes()
    checkpoint.export(teacher.checkpoints / "last", network.state_dict(), network.architecture, facts["step"] + 1)
    label(teacher)
    assert sorted(passes) == [0, 1, 2] and (teacher.labels / "train-000000.tar").read_bytes() != before
    teacher_entry = Manifest.load(teacher.labels, kind="labels").source["teacher"]
    assert teacher_entry["step"] == facts["step"] + 1


def test_a_pass_is_continued_with_the_threads_that_it_was_begun_with(finished, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    teacher = finished("teacher")
    note = json.loads((teacher.labels / ".label.json").read_text())
    assert note["made"] == {"device": "cpu", "threads": 1}
    (teacher.labels / ".label.json").write_text(json.dumps(note | {"made": {"device": "cpu", "threads": 2}}))
    (teacher.labels / "MANIFEST.json").unlink()
    (teacher.labels / "train-000001.tar").unlink()
    threads = []
    original = Labeller.outputs

    def record(self, number):
        threads.append(torch.get_num_threads())
        return original(self, number)

    monkeypatch.setattr(Labeller, "outputs", record)
    label(teacher)
    assert threads == [2] and torch.get_num_threads() == 1
    assert "labels with 2 threads, as the pass was begun, and not with 1" in caplog.messages
    assert Manifest.load(teacher.labels, kind="labels").source["teacher"]["threads"] == 2


def test_a_pass_is_not_continued_on_another_kind_of_device(finished):
    teacher = finished("teacher")
    note = json.loads((teacher.labels / ".label.json").read_text())
    (teacher.labels / ".label.json").write_text(json.dumps(note | {"made": {"device": "cuda", "threads": 1}}))
    label(teacher)  # finished labels may be read anywhere
    (teacher.labels / "MANIFEST.json").unlink()
    with pytest.raises(UserError, match="train: device: was begun on cuda, and this process runs on cpu"):
        label(teacher)


def test_after_a_failure_the_same_process_can_go_on(finished, monkeypatch):
    """It releases its leases."""
    teacher = finished("teacher")
    before = {path.name: path.read_bytes() for path in teacher.labels.glob("train-*")}
    shutil.rmtree(teacher.labels)

    def full(*arguments):
        raise UserError("cannot be written (no space left on device)", hint="free some space")

    with monkeypatch.context() as patch:
        patch.setattr(trainer.pseudolabels.labeller, "write_label_shard", full)
        with pytest.raises(UserError, match="no space left"):
            label(teacher)
    label(teacher)
    assert before == {path.name: path.read_bytes() for path in teacher.labels.glob("train-*")}
    assert sorted(path.name for path in teacher.labels.glob("[!t]*")) == [".label.json", "MANIFEST.json", "kept.json"]


# Refusals


def test_a_network_that_is_not_trained_cannot_label(make):
    with pytest.raises(UserError, match=r"last/model\.json: does not exist; train the network first"):
        label(make("teacher"))


def test_a_network_of_another_configuration_does_not_label(finished):
    with pytest.raises(UserError, match=r"labels\.semseg: holds a run with 8, not 4"):
        label(finished("teacher", "labels.semseg=4"))


def test_what_predicts_only_its_inputs_cannot_label(make):
    with pytest.raises(UserError, match="tasks: predicts nothing but its own inputs"):
        label(make("teacher", "tasks=[depth]"))


def test_a_teacher_with_nothing_left_to_label_says_so(make):
    teacher = make("plain", "labels.semseg=null", "labels.depth=null", "train.steps=1")
    train(teacher)
    with pytest.raises(UserError, match="labels: every frame it could label shows its label"):
        label(teacher)


def test_labels_of_another_data_set_are_refused(finished, tiny_dataset):
    student = finished("student", f"data.path={tiny_dataset.folder}", "labels.semseg=4", "labels.depth=6")
    with pytest.raises(UserError, match=r"labels/train/MANIFEST\.json: holds labels of another data set than"):
        student.training_frames()


# Merged data sets


@pytest.fixture
def merged(finished, tmp_path) -> Manifest:
    teacher = finished("teacher", "label.threshold=0.4")
    return merge(teacher, tmp_path / "merged")


def test_a_merged_data_set_is_whole_and_stands_alone(merged, scenes_dataset):
    assert verify(Manifest.load(merged.folder)) == 30
    for split, samples in (("train", 24), ("val", 6)):
        assert merged.samples(split) == samples
    assert [dict(shard.labels) for shard in merged.splits["val"]] == [{"semseg": 6, "depth": 6}]
    counts = {name: sum(shard.labels[name] for shard in merged.splits["train"]) for name in ("semseg", "depth")}
    assert counts == {"semseg": 16, "depth": 16}, "8 true and 8 pseudo; no frame outside the budgets"
    assert merged.source["merged_from"] == scenes_dataset.sha256
    assert merged.statistics["train"]["semseg"]["frames"] == 16


def test_in_a_merged_data_set_ground_truth_wins(merged, make, scenes_dataset):
    teacher = make("teacher")
    frames = teacher.training_frames()
    labels = LabelShards(teacher.labels, scenes_dataset, "train", scenes_dataset.task("semseg"), 0.4)
    merged_readers, source_readers = Readers(merged, "train"), Readers(scenes_dataset, "train")
    for row in range(24):
        shard, position = divmod(row, 8)
        source_members = source_readers[shard].read(position)
        merged_members = merged_readers[shard].read(position)
        assert merged_readers[shard].key(position) == source_readers[shard].key(position)
        assert (
            merged_members["rgb.jpg"] == source_members["rgb.jpg"] and merged_members["json"] == source_members["json"]
        )
        for task in ("semseg", "depth"):
            if frames.visible[task][row]:
                assert merged_members[f"{task}.png"] == source_members[f"{task}.png"]
            elif task == "depth":
                assert "depth.png" not in merged_members
        if not frames.visible["semseg"][row]:
            key = source_readers[shard].key(position)
            assert ("semseg.png" in merged_members) == (key in labels.keys(shard))
            if key in labels.keys(shard):
                assert np.array_equal(merged_readers[shard].decode(position)["semseg"], labels.read(shard, key))


def test_a_frame_without_a_confident_pixel_has_no_merged_label(finished, make, scenes_dataset, tmp_path):
    task = scenes_dataset.task("semseg")
    stored = LabelShards(finished("teacher").labels, scenes_dataset, "train", task, None)
    highest = {
        key: stored.read_unfiltered(shard, key)[1].max()
        for shard in range(len(scenes_dataset.shards("train")))
        for key in stored.keys(shard)
    }
    threshold = sorted(highest.values())[len(highest) // 2 - 1]
    dataset = merge(make("teacher", f"label.threshold={threshold}"), tmp_path / "merged")
    confident = sum(value > threshold for value in highest.values())
    assert 0 < confident < len(highest)
    labels = {name: sum(shard.labels[name] for shard in dataset.splits["train"]) for name in ("semseg", "depth")}
    assert labels["semseg"] == 8 + confident and dataset.statistics["train"]["semseg"]["frames"] == 8 + confident


def test_a_merged_data_set_can_be_trained_on(merged, make):
    run = make("plain", f"data.path={merged.folder}", "labels.semseg=null", "labels.depth=null", "data.name=merged")
    train(run)
    assert run.training_frames().counts(np.ones(24, bool), ["semseg", "depth"]) == {"semseg": 16, "depth": 16}


def test_labels_of_a_smaller_size_are_merged_at_the_frames(make, tmp_path):
    teacher = make("teacher", "data.size=16x32", "train.steps=1", "evaluate.every=0")
    train(teacher)
    label(teacher)
    assert verify(merge(teacher, tmp_path / "merged")) == 30


def test_merging_refuses_a_folder_that_holds_something(finished, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    with pytest.raises(UserError, match="mine: is not empty; give another folder"):
        merge(finished("teacher"), tmp_path / "mine")


def test_a_merge_is_continued_and_not_done_twice(finished, merged, monkeypatch):
    teacher = finished("teacher", "label.threshold=0.4")
    files = {path.name: path.read_bytes() for path in merged.folder.iterdir() if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in merged.folder.iterdir()}
    assert merge(teacher, merged.folder) == merged
    assert times == {path: path.stat().st_mtime_ns for path in merged.folder.iterdir()}
    for name in ("MANIFEST.json", "train-000002.tar", "val-000000.index.json"):  # interrupted
        (merged.folder / name).unlink()
    written = []
    original = trainer.pseudolabels.merge.write_shard
    monkeypatch.setattr(
        trainer.pseudolabels.merge,
        "write_shard",
        lambda path, *rest: (written.append(path.name), original(path, *rest))[1],
    )
    merge(teacher, merged.folder)
    assert written == ["train-000002.tar"]
    assert {path.name: path.read_bytes() for path in merged.folder.iterdir() if path.is_file()} == files


def test_merges_of_several_processes_wait_for_each_other(finished, tmp_path):
    """For example those of all ranks of ``tutelage label --merge``."""
    out, teacher = tmp_path / "merged", finished("teacher")
    (out / ".prepare").mkdir(parents=True)
    unfinished = out / ".train-000000.tar.other.tmp"
    unfinished.touch()
    with ThreadPoolExecutor(2) as threads:
        with hold_lease(out / ".prepare", "prepare"):
            merges = [threads.submit(merge, teacher, out) for _ in range(2)]
            time.sleep(0.5)
            assert unfinished.exists() and len([*out.iterdir()]) == 2
        first, second = (future.result() for future in merges)
    assert first == second and verify(first) == 30 and not unfinished.exists()


def test_a_merge_of_other_options_is_refused(finished, merged):
    with pytest.raises(UserError, match="merged: threshold: holds a data set of other options; give another folder"):
        merge(finished("teacher", "label.threshold=0.5"), merged.folder)


@pytest.mark.parametrize("linked", [True, False])
def test_other_splits_are_linked_where_they_can_be(finished, tmp_path, scenes_dataset, monkeypatch, linked):
    link = os.link

    def refuse(source, target):
        if source.parent == scenes_dataset.folder:  # leases of the target's folder are linked within it
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    out = merge(finished("teacher"), tmp_path / "merged").folder
    source = scenes_dataset.folder
    for name in ("val-000000.tar", "val-000000.index.json"):
        assert (out / name).samefile(source / name) == linked
        assert (out / name).read_bytes() == (source / name).read_bytes()
