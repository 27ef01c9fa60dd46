"""Reading samples by position, and only the members that the manifest declares."""

import gc
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from tiny import DEPTH, SEMSEG, Tiny

from shards.codec import decode_rgb
from shards.encode import encode
from shards.errors import UserError
from shards.read import Readers, ShardReader, allowed_members


@pytest.fixture
def reader(tiny_dataset):
    """Return the reader of the shard with training frames 3, 4 and 5."""
    return ShardReader(tiny_dataset, tiny_dataset.shards("train")[1])


def open_files():
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


def test_samples_are_read_by_position_in_any_order(reader):
    source = Tiny()
    for position in (2, 0, 1, 2):
        key = f"train-00{3 + position}"
        encoded = encode(source.load("train", 3 + position), key, source.tasks, None)
        assert reader.key(position) == key and reader.positions[key] == position
        assert list(reader.members(position)) == list(encoded.members)
        assert reader.read(position) == encoded.members
    assert len(reader) == 3


def test_a_disk_that_fails_is_an_error_that_names_the_sample(reader):
    reader.close()  # so that reading fails, as it does on a network disk whose server has gone
    with pytest.raises(UserError, match=r"train-000001\.tar: train-004: cannot be read \(Bad file.*; check the disk"):
        reader.read(1)


def test_members_are_decoded_by_name(reader):
    data, arrays = reader.read(1), reader.decode(1)
    assert list(arrays) == ["rgb", "semseg", "depth"]
    np.testing.assert_array_equal(arrays["rgb"], decode_rgb(data["rgb.png"], "png"))
    np.testing.assert_array_equal(arrays["semseg"], SEMSEG.storage.decode(data["semseg.png"]))
    np.testing.assert_array_equal(arrays["depth"], DEPTH.storage.decode(data["depth.png"]))


def test_an_absent_label_is_an_absent_array(reader):
    assert list(reader.decode(0)) == ["rgb", "semseg"]
    assert list(reader.decode(2)) == ["rgb", "depth"]


def test_only_the_bytes_from_the_first_wanted_member_to_the_last_are_read(reader, monkeypatch):
    members, reads, pread = reader.read(1), [], os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, offset: reads.append(size) or pread(file, size, offset))
    for name, data in members.items():
        assert reader.read(1, name.__eq__) == {name: data}
    assert reads == [len(data) for data in members.values()]
    assert reader.read(1, lambda name: False) == {} and len(reads) == len(members)


def test_only_what_is_wanted_is_decoded(reader, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        reader, "_decode", lambda extension, data, window: decoded.append(extension) or np.zeros((1, 1))
    )
    assert list(reader.decode(1, lambda extension: extension == "depth.png")) == ["depth"]
    assert decoded == ["depth.png"]
    assert list(reader.read(1, lambda extension: extension == "json")) == ["json"]


def test_allowed_members_follow_from_the_tasks():
    assert allowed_members([SEMSEG, DEPTH]) == {
        *("rgb.jpg", "rgb.png", "rgb.webp", "rgb.tif", "json"),
        *("semseg.png", "depth.png"),
    }
    allowed = {"semseg.png", "semseg.conf.png", "semseg.soft.png", "depth.png", "depth.conf.png"}
    assert allowed_members([SEMSEG, DEPTH], kind="labels") == allowed


@pytest.mark.slow
def test_readers_keep_as_many_files_open_as_they_may(tiny_dataset):
    baseline = open_files()
    readers = Readers(tiny_dataset, "train", keep=2)
    assert open_files() == baseline  # files are opened on demand
    first = readers[0]
    assert readers[0] is first
    for number in (1, 0, 2):  # 0 is used again, so 1 is closed
        readers[number]
    assert open_files() == baseline + 2
    assert readers[0] is first
    for number in (1, 2):
        readers[number]
    assert open_files() == baseline + 3, "one that is still held is not closed"
    del first
    assert open_files() == baseline + 2
    for number in range(4):
        reader = readers[number]
        assert reader.key(0) == f"train-{3 * number:03d}" and reader.read(0)
    assert open_files() == baseline + 2
    del readers, reader
    assert open_files() == baseline


def test_readers_travel_to_another_process_without_their_files(tiny_dataset):
    readers = Readers(tiny_dataset, "val")
    readers[1].read(0)
    copy = pickle.loads(pickle.dumps(readers))  # noqa: S301
    assert copy[1].read(0) == readers[1].read(0)
    assert copy[1] is not readers[1]
