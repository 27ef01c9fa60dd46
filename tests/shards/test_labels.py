"""Label shards: labels of some frames of a source, in its order, to which a threshold applies when they are read."""

import dataclasses
import json

import numpy as np
import pytest
from tiny import DEPTH, NORMALS, SEMSEG, SIZE, Tiny

from shards.codec import CONFIDENCE_STEPS
from shards.errors import UserError
from shards.inspect import verify
from shards.labels import LabelledFrame, LabelShards, encode_frame, label_manifest, write_label_shard
from shards.manifest import NAME, Manifest, statistics_of
from shards.pack import pack
from shards.read import Readers
from shards.tasks import IGNORE, Task

TASKS = (SEMSEG, DEPTH)
LABELLED = {0: ["train-000", "train-002"], 1: [], 2: ["train-008"], 3: ["train-009", "train-010", "train-011"]}


def teacher_output(key):
    """Return a teacher's output: classes with confidences of four decimals, and depth; frame 9 has only depth."""
    random = np.random.default_rng(int(key[-3:]))
    depth = random.uniform(0.1, 10, SIZE).astype(np.float32)
    if key == "train-009":
        return LabelledFrame(key, {"depth": depth}, {})
    classes = random.integers(0, 4, SIZE, dtype=np.uint8)
    confidence = (random.integers(1, 10_001, SIZE) / 10_000).astype(np.float32)
    return LabelledFrame(key, {"semseg": classes, "depth": depth}, {"semseg": confidence})


@pytest.fixture
def sidecar(tiny_dataset, tmp_path):
    """Return a folder of labels of 6 of the 12 training frames, with none of the second shard."""
    shards, statistics = [], []
    for number, shard in enumerate(tiny_dataset.shards("train")):
        samples = [encode_frame(teacher_output(key), TASKS) for key in LABELLED[number]]
        shards.append(write_label_shard(tmp_path, shard.file, samples, TASKS))
        statistics.append(json.loads((tmp_path / shards[-1].index_file).read_text())["statistics"])
    merged = statistics_of({"train": statistics}, TASKS)["train"]
    teacher = {"checkpoint_sha256": "5e1f", "config": {"experiment": "ummt"}}
    label_manifest(tmp_path, tiny_dataset, "train", TASKS, shards, merged, teacher).save()
    return tmp_path


def open_labels(sidecar, source, task=SEMSEG, threshold=None):
    return LabelShards(sidecar, source, "train", task, threshold)


def test_shards_have_their_sources_names_and_a_part_of_its_keys_in_order(tiny_dataset, sidecar):
    manifest = Manifest.load(sidecar, kind="labels")
    assert [shard.file for shard in manifest.shards("train")] == [shard.file for shard in tiny_dataset.shards("train")]
    assert [shard.samples for shard in manifest.shards("train")] == [2, 0, 1, 3]
    sources, readers = Readers(tiny_dataset, "train"), Readers(manifest, "train")
    for number, keys in LABELLED.items():
        assert [readers[number].key(i) for i in range(len(readers[number]))] == keys
        positions = [sources[number].positions[key] for key in keys]
        assert positions == sorted(positions)
    assert list(readers[0].members(0)) == ["semseg.png", "semseg.conf.png", "depth.png"]
    assert list(readers[3].members(0)) == ["depth.png"]


def test_the_manifest_says_whose_labels_they_are(tiny_dataset, sidecar):
    manifest = Manifest.load(sidecar, kind="labels")
    assert manifest.source == {
        "manifest_sha256": tiny_dataset.sha256,
        "split": "train",
        "confidence_steps": CONFIDENCE_STEPS,
        "teacher": {"checkpoint_sha256": "5e1f", "config": {"experiment": "ummt"}},
    }
    assert [shard.labels for shard in manifest.shards("train")] == [
        {"semseg": 2, "depth": 2},
        {"semseg": 0, "depth": 0},
        {"semseg": 1, "depth": 1},
        {"semseg": 2, "depth": 3},
    ]
    statistics = manifest.statistics["train"]["semseg"]
    assert statistics["frames"] == 5 and sum(statistics["pixels"]) == 5 * SIZE[0] * SIZE[1]
    assert verify(manifest) == 6


def test_each_task_knows_its_keys(tiny_dataset, sidecar):
    semseg, depth = open_labels(sidecar, tiny_dataset), open_labels(sidecar, tiny_dataset, DEPTH)
    for number, keys in LABELLED.items():
        assert depth.keys(number) == set(keys)
        assert semseg.keys(number) == set(keys) - {"train-009"}


def test_labels_are_read_as_the_teacher_gave_them(tiny_dataset, sidecar):
    for number, keys in LABELLED.items():
        for key in keys:
            depth = open_labels(sidecar, tiny_dataset, DEPTH).read(number, key)
            np.testing.assert_allclose(depth, teacher_output(key).labels["depth"], atol=0.00051)
            if key != "train-009":
                semseg = open_labels(sidecar, tiny_dataset).read(number, key)
                np.testing.assert_array_equal(semseg, teacher_output(key).labels["semseg"])


@pytest.mark.parametrize("threshold", [0, 0.1234, 0.5, 0.9, 0.9999])
def test_the_threshold_is_applied_when_labels_are_read(tiny_dataset, sidecar, threshold):
    """The threshold is exact, although confidences are stored in 16 bits."""
    teacher = teacher_output("train-002")
    expected = teacher.labels["semseg"].copy()
    expected[teacher.confidence["semseg"].astype(np.float64) <= threshold] = IGNORE
    np.testing.assert_array_equal(
        open_labels(sidecar, tiny_dataset, threshold=threshold).read(0, "train-002"), expected
    )
    assert (threshold == 0) == (expected != IGNORE).all()


def test_what_is_not_confident_is_no_label_of_any_kind():
    confidence = np.array([[0.2, 0.8]], np.float32)
    classes = SEMSEG.storage.keep(np.array([[1, 2]], np.uint8), confidence > 0.5)
    assert classes.dtype == np.uint8 and classes.tolist() == [[IGNORE, 2]]
    metres = DEPTH.storage.keep(np.array([[1, 2]], np.float32), confidence > 0.5)
    assert metres.dtype == np.float32 and metres.tolist() == [[0, 2]]
    vectors = NORMALS.storage.keep(np.array([[[0, 0, 1], [0, 1, 0]]], np.float32), confidence > 0.5)
    assert vectors.dtype == np.float32 and vectors.tolist() == [[[0, 0, 0], [0, 1, 0]]]


def test_a_threshold_needs_a_confidence(tiny_dataset, sidecar):
    with pytest.raises(UserError, match=r"has no confidence .*; set pseudo.depth.keep=all") as caught:
        open_labels(sidecar, tiny_dataset, DEPTH, threshold=0.5).read(0, "train-000")
    assert (caught.value.file, caught.value.key) == (sidecar / "train-000000.tar", "train-000")


def test_labels_of_another_data_set_are_refused(tiny_dataset, sidecar, tmp_path):
    other = pack(dataclasses.replace(Tiny(), options={"seed": 1}), tmp_path / "other", samples_per_shard=3)
    with pytest.raises(UserError, match=r"holds labels of another data set than .*other; label this") as caught:
        open_labels(sidecar, other)
    assert caught.value.file == sidecar / NAME


def test_labels_are_refused_where_their_tasks_or_shards_differ(tiny_dataset, sidecar):
    with pytest.raises(UserError, match="semseg differs from the data set's; label it again"):
        open_labels(sidecar, tiny_dataset, dataclasses.replace(SEMSEG, classes=("a", "b", "c", "d")))
    with pytest.raises(UserError, match="has no task 'normals'; use one of its tasks"):
        open_labels(sidecar, tiny_dataset, NORMALS)
    entry = json.loads((sidecar / NAME).read_text())
    entry["splits"]["train"].pop(1)
    (sidecar / NAME).write_text(json.dumps(entry))
    with pytest.raises(UserError, match="has other shards than its source; label the data set again") as caught:
        open_labels(sidecar, tiny_dataset)
    assert caught.value.file == sidecar / NAME


def test_frames_are_no_labels(tiny_dataset):
    with pytest.raises(UserError, match="describes frames, not labels"):
        open_labels(tiny_dataset.folder, tiny_dataset)


def test_only_tasks_that_the_sidecar_declares_are_written():
    frame = teacher_output("train-000")
    assert list(encode_frame(frame, (DEPTH,)).members) == ["depth.png"]
    assert list(encode_frame(frame, (Task("normals", "unit_vector"),)).members) == []
