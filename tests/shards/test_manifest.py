"""The manifest: its counts and hashes, writing and loading it, and refusing invalid ones."""

import hashlib
import json
import shutil

import pytest
from tiny import DEPTH, SEMSEG, SIZE

from shards.claim import JOB
from shards.errors import UserError
from shards.manifest import FORMAT, NAME, Manifest, index_name, same_json, shard_name
from shards.statistics import merge
from shards.tasks import Task


@pytest.fixture
def folder(tiny_dataset, tmp_path):
    """Return a folder with a copy of the tiny data set's manifest, without its shards."""
    shutil.copy(tiny_dataset.path, tmp_path)
    return tmp_path


def edit(folder, change):
    entry = json.loads((folder / NAME).read_text())
    change(entry)
    (folder / NAME).write_text(json.dumps(entry))


def test_it_counts_shards_samples_and_labels(tiny_dataset):
    train, val = tiny_dataset.shards("train"), tiny_dataset.shards("val")
    assert [shard.file for shard in train] == [f"train-00000{i}.tar" for i in range(4)]
    assert [shard.samples for shard in val] == [3, 2]
    assert tiny_dataset.samples("train") == 12 and tiny_dataset.samples("test") == 0
    assert sum(shard.labels["semseg"] for shard in train) == 8
    assert sum(shard.labels["depth"] for shard in train) == 9
    assert tiny_dataset.tasks == (SEMSEG, DEPTH) and tiny_dataset.task("depth") == DEPTH


def test_it_names_every_byte(tiny_dataset):
    for shard in [*tiny_dataset.shards("train"), *tiny_dataset.shards("val")]:
        tar, index = (tiny_dataset.folder / name for name in (shard.file, shard.index_file))
        assert shard.bytes == tar.stat().st_size
        assert shard.sha256 == hashlib.sha256(tar.read_bytes()).hexdigest()
        assert shard.index_sha256 == hashlib.sha256(index.read_bytes()).hexdigest()
    assert tiny_dataset.sha256 == hashlib.sha256(tiny_dataset.path.read_bytes()).hexdigest()
    listed_files = {name for shard in tiny_dataset.shards("train") for name in (shard.file, shard.index_file)}
    listed_files |= {name for shard in tiny_dataset.shards("val") for name in (shard.file, shard.index_file)}
    assert {path.name for path in tiny_dataset.folder.iterdir()} == listed_files | {NAME, JOB}, (
        "and the note of how it was made"
    )


def test_labels_are_known_by_their_shards_and_not_by_the_notes_on_their_teacher(tiny_dataset, folder):
    def hashes() -> tuple[str, str]:
        manifest = Manifest.load(folder, kind="labels")
        return manifest.sha256, manifest.identity

    assert tiny_dataset.identity == tiny_dataset.sha256
    teacher = {"checkpoint_sha256": "5e1f", "config": {"run": {"root": "runs"}}}
    edit(folder, lambda entry: entry.update(kind="labels", source={"manifest_sha256": "1", "teacher": teacher}))
    sha256, identity = hashes()
    edit(folder, lambda entry: entry["source"]["teacher"]["config"].update(run={"root": "moved"}))
    assert hashes()[0] != sha256 and hashes()[1] == identity
    edit(folder, lambda entry: entry["splits"]["train"][0].update(sha256="0" * 64))
    assert hashes()[1] != identity


@pytest.mark.parametrize("size", [None, SIZE])
def test_it_survives_its_file(tiny_dataset, tmp_path, size):
    tasks = (*tiny_dataset.tasks, Task("normals", "unit_vector"))
    statistics = {
        split: task_statistics | {"normals": merge(tasks[-1], [])}
        for split, task_statistics in tiny_dataset.statistics.items()
    }
    manifest = Manifest(
        tmp_path,
        "Größe",
        "labels",
        size,
        tasks,
        tiny_dataset.splits,
        statistics,
        {"options": [1, None]},
    )
    manifest.save()
    assert Manifest.load(tmp_path, kind="labels") == manifest


def test_unknown_tasks_and_empty_splits_are_named(folder):
    edit(folder, lambda entry: entry["splits"].update(val=[]))
    manifest = Manifest.load(folder)
    with pytest.raises(UserError, match="has no task 'normals'; use one of its tasks: semseg, depth") as caught:
        manifest.task("normals")
    assert caught.value.file == folder / NAME
    for split in ("val", "test"):
        with pytest.raises(UserError, match=f"split '{split}' is empty; it has the splits: train") as caught:
            manifest.shards(split)
        assert caught.value.file == folder / NAME


def test_a_newer_format_asks_for_an_update(folder):
    edit(folder, lambda entry: entry.update(format=FORMAT + 1, splits="of another shape"))
    with pytest.raises(UserError, match=f"has format {FORMAT + 1}, newer than the {FORMAT} .*; update") as caught:
        Manifest.load(folder)
    assert (caught.value.file, caught.value.key) == (folder / NAME, "format")


def test_a_manifest_of_another_kind_is_refused(folder):
    with pytest.raises(UserError, match="describes frames, not labels; give the folder of a data set of labels"):
        Manifest.load(folder, kind="labels")


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry.pop("format"),
        lambda entry: entry.update(format="one"),
        lambda entry: entry.update(size=[32]),
        lambda entry: entry.update(splits=["train"]),
        lambda entry: entry["splits"]["train"][0].pop("sha256"),
        lambda entry: entry["splits"]["train"][0].update(surprise=1),
        lambda entry: entry["tasks"]["semseg"].pop("kind"),
        lambda entry: entry["tasks"]["semseg"].update(kind="boxes"),
        lambda entry: entry["tasks"]["semseg"]["colours"].pop(),
        lambda entry: entry["tasks"].update(json={"kind": "unit_vector"}),
    ],
)
def test_a_damaged_manifest_names_its_file_and_a_cure(folder, damage):
    edit(folder, damage)
    with pytest.raises(UserError) as caught:
        Manifest.load(folder)
    assert caught.value.file == folder / NAME and caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null"])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / NAME).write_text(content)
    with pytest.raises(UserError, match="tutelage prepare") as caught:
        Manifest.load(tmp_path)
    assert caught.value.file == tmp_path / NAME


def test_names_of_files():
    assert shard_name("train", 12) == "train-000012.tar"
    assert index_name("train-000012.tar") == "train-000012.index.json"


def test_values_are_compared_as_json_has_them():
    assert same_json({"a": (1, 2), 3: None}, {"3": None, "a": [1, 2]})
    assert not same_json({"a": 1}, {"a": 2})
