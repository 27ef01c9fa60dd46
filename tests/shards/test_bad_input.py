"""Invalid data sets and full disks: the error is one line that names the file, the key and a hint."""

import errno
import gc
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from sealing import seal
from tiny import DEPTH, NORMALS, SEMSEG, Tiny, dataset_of, png

from shards.errors import UserError
from shards.inspect import verify
from shards.manifest import NAME, Manifest
from shards.pack import pack
from shards.read import Readers, ShardReader

TASKS = (SEMSEG, DEPTH, NORMALS)
TAR = "train-000001.tar"  # frames 3 (JPEG, semseg), 4 (PNG, semseg, depth) and 5 (JPEG, depth)


@pytest.fixture
def folder(tiny_dataset, tmp_path):
    """Return a copy of the tiny data set, which a test may damage."""
    return Path(shutil.copytree(tiny_dataset.folder, tmp_path / "copy"))


def read_all(manifest):
    readers = Readers(manifest, "train")
    for number, shard in enumerate(readers.shards):
        for position in range(shard.samples):
            readers[number].decode(position)


def raised_error(action, manifest):
    """Return the UserError that an action raises, which must be one line with a file and a hint."""
    with pytest.raises(UserError) as caught:
        action(manifest)
    error = caught.value
    assert error.file and error.hint and "\n" not in str(error)
    assert str(error.file) in str(error) and str(error).endswith(error.hint)
    return error


def expect_error(manifest, file, key, message, actions=(read_all, verify)):
    for action in actions:
        error = raised_error(action, manifest)
        assert (Path(error.file).name, error.key) == (file, key)
        assert message in error.what


def change(path, offset, replacement=None):
    """Overwrite bytes of a file; without a replacement, flip one bit."""
    data = bytearray(path.read_bytes())
    data[offset : offset + len(replacement or b"x")] = replacement or bytes([data[offset] ^ 4])
    path.write_bytes(data)


def seal_and_load(folder):
    """Make the manifest agree with the files' current content, and load it."""
    seal(folder)
    return Manifest.load(folder)


def rewrite(path, edit):
    """Write a tar again after an edit of its list of (name, data)."""
    with tarfile.open(path) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(path, "w") as tar:
        for name, data in edit(members):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def member(folder, name):
    """Return the offsets of a member's header and data in :data:`TAR`, and its size."""
    with tarfile.open(folder / TAR) as tar:
        info = tar.getmember(name)
    return info.offset, info.offset_data, info.size


def short_id(parameter):
    """Return a short test id for parameters that are bytes."""
    return "bytes" if isinstance(parameter, bytes) else None


class Bomb:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


# --- a damaged tar ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["one byte", "a member's end", "a sample's end", "everything"])
def test_a_truncated_tar(folder, cut):
    path = folder / TAR
    size = path.stat().st_size
    sizes = {"one byte": size - 1, "everything": 0}
    sizes |= {
        "a member's end": member(folder, "train-004.semseg.png")[0],
        "a sample's end": member(folder, "train-005.rgb.jpg")[0],
    }
    os.truncate(path, sizes[cut])
    message = f"has {sizes[cut]} bytes, where the manifest says {size}: it is truncated"
    expect_error(Manifest.load(folder), TAR, None, message)


def test_a_refused_shard_is_closed_once(folder, monkeypatch):
    """A second close could close another file that has received the same descriptor."""
    closed, original_close = [], os.close
    manifest = Manifest.load(folder)
    os.truncate(folder / TAR, 512)
    gc.collect()  # objects that other tests left
    monkeypatch.setattr(os, "close", lambda descriptor: (closed.append(descriptor), original_close(descriptor)))
    with pytest.raises(UserError):
        ShardReader(manifest, manifest.shards("train")[1])
    gc.collect()
    assert closed and len(set(closed)) == len(closed)


def test_a_tar_that_was_truncated_before_its_manifest_was_written(folder):
    os.truncate(folder / TAR, member(folder, "train-005.rgb.jpg")[1] + 100)
    error = raised_error(read_all, seal_and_load(folder))
    assert (error.file.name, error.key) == (TAR.replace(".tar", ".index.json"), "train-005")
    assert error.what == "lies outside its shard"


@pytest.mark.parametrize("name", ["train-003.rgb.jpg", "train-004.rgb.png", "train-004.semseg.png", "train-005.json"])
def test_a_flipped_bit_in_a_member_names_it(folder, name):
    _, start, size = member(folder, name)
    change(folder / TAR, start + size // 2)
    expect_error(Manifest.load(folder), TAR, name, "bytes differ from those that were written")


@pytest.mark.parametrize(
    ("name", "within", "what", "key"),
    [
        ("train-003.rgb.jpg", 0, "is not a whole tar", None),
        ("train-004.rgb.png", 0, "members differ from the index", "train-004.rgb.png"),
        ("train-004.depth.png", 150, "members differ from the index", "train-004.depth.png"),  # the header's checksum
        ("train-005.json", 500, "members differ from the index", "train-005.json"),  # the header's padding
    ],
)
def test_a_flipped_bit_in_a_header_is_found_by_verify(folder, name, within, what, key):
    change(folder / TAR, member(folder, name)[0] + within)
    expect_error(Manifest.load(folder), TAR, key, what, [verify])


def test_a_flipped_bit_that_no_member_holds_is_found_by_verify(folder):
    _, start, size = member(folder, "train-005.json")
    change(folder / TAR, start + size)  # padding of the member's last block
    expect_error(Manifest.load(folder), TAR, None, "bytes differ from the manifest's hash", [verify])


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda members: [m for m in members if m[0] != "train-004.depth.png"], "train-004.json"),
        (lambda members: members[:-1], "train-005.json"),
        (lambda members: [*members, ("train-006.json", b"{}")], "train-006.json"),
        (lambda members: [members[1], members[0], *members[2:]], "train-003.semseg.png"),
    ],
    ids=["one less", "the last one less", "one more", "swapped"],
)
def test_a_tar_of_other_members_than_its_index(folder, edit, key):
    rewrite(folder / TAR, edit)
    expect_error(seal_and_load(folder), TAR, key, "members differ from the index", [verify])


# --- a member that the manifest does not name ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extension", ["pyd", "pickle", "pth", "npy", "rgb.gif", "normals.png", "semseg.conf.png", "txt"]
)
def test_a_member_that_is_not_declared_and_not_listed(folder, tmp_path, extension):
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    name = f"train-003.{extension}"
    rewrite(folder / TAR, lambda members: [*members, (name, bomb)])
    manifest = seal_and_load(folder)
    expect_error(manifest, TAR, name, "is of a kind that the manifest does not declare", [verify])
    reader = ShardReader(manifest, manifest.shards("train")[1])
    assert all("rgb" in reader.decode(position) for position in range(3))  # by the index, which does not list it
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "extension", ["pyd", "pickle", "pth", "npy", "rgb.gif", "normals.png", "semseg.conf.png", "txt"]
)
def test_a_member_that_is_not_declared_and_listed(tmp_path, extension):
    """The index lists it and every hash is right."""
    members = {"rgb.png": png(np.zeros((2, 2, 3), np.uint8)), extension: pickle.dumps(Bomb(tmp_path / "boom"))}
    manifest = dataset_of(tmp_path, {"k": members}, (SEMSEG, DEPTH))
    expect_error(
        manifest, "train-000000.index.json", "k", f"holds a member .{extension}, which the manifest does not declare"
    )
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("extension", ["rgb.png", "rgb.jpg", "semseg.png", "depth.png"])
def test_a_pickle_under_a_declared_name(tmp_path, extension):
    manifest = dataset_of(tmp_path, {"k": {extension: pickle.dumps(Bomb(tmp_path / "boom"))}}, TASKS)
    expect_error(manifest, "train-000000.tar", f"k.{extension}", "image that can be decoded")
    assert not (tmp_path / "boom").exists()


def test_the_bomb_would_have_gone_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "boom"))).close()  # noqa: S301
    assert (tmp_path / "boom").exists()


# --- a member that is not what its name says -------------------------------------------------------------------------

RGB = png(np.zeros((4, 6, 3), np.uint8))
CLASSES = np.zeros((4, 6), np.uint8)


def oversized_png():
    """Return a PNG of a few bytes that claims to have 8001 × 8000 pixels."""
    header = struct.pack(">IIBBBBB", 8001, 8000, 8, 0, 0, 0, 0)
    data = bytearray(png(CLASSES))
    data[16:29], data[29:33] = header, struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return bytes(data)


@pytest.mark.parametrize(
    ("extension", "data", "what"),
    [
        ("rgb.png", RGB[:45], "is not a PNG image that can be decoded"),
        ("rgb.jpg", RGB, "is not a JPEG image that can be decoded"),
        ("rgb.png", png(CLASSES), "is a L image, not 8-bit RGB"),
        ("semseg.png", b"", "is not a PNG image that can be decoded"),
        ("semseg.png", png(CLASSES)[:45], "is not a PNG image that can be decoded"),
        ("semseg.png", oversized_png(), "8001x8000 pixels are over the limit of 64000000"),
        ("semseg.png", png(CLASSES + 4), "class 4 is out of range (0..3, 255 for none)"),
        ("semseg.png", png(CLASSES.astype(np.uint16)), "is a I;16 image, expected L"),
        ("depth.png", png(CLASSES), "is a L image, expected I;16"),
        ("normals.png", png(CLASSES), "is a L image, expected RGB"),
    ],
    ids=short_id,
)
def test_a_member_that_does_not_decode(tmp_path, extension, data, what):
    manifest = dataset_of(tmp_path, {"k": {"rgb.webp": b"unread", **{extension: data}}}, TASKS)
    reader = ShardReader(manifest, manifest.shards("train")[0])
    error = raised_error(lambda _: reader.decode(0, lambda member: member == extension), manifest)
    assert (error.file.name, error.key) == ("train-000000.tar", f"k.{extension}")
    assert what in error.what
    assert raised_error(verify, manifest).file == error.file


@pytest.mark.parametrize(
    ("extension", "label"),
    [
        ("semseg.png", SEMSEG.storage.encode(np.zeros((6, 4), np.uint8))),
        ("depth.png", DEPTH.storage.encode(np.ones((4, 5), np.float32))),
        ("normals.png", NORMALS.storage.encode(np.ones((2, 3, 3), np.float32))),
    ],
    ids=short_id,
)
def test_a_label_of_another_size_than_its_image(tmp_path, extension, label):
    manifest = dataset_of(tmp_path, {"good": {"rgb.png": RGB}, "bad": {"rgb.png": RGB, extension: label}}, TASKS)
    expect_error(manifest, "train-000000.tar", "bad", "members differ in size: rgb 4x6, ")


@pytest.mark.parametrize("key", ["a.b", "../../etc/passwd", "a/b", "", "a b"])
def test_a_key_that_is_none(tmp_path, key):
    manifest = dataset_of(tmp_path, {key: {"rgb.png": RGB}}, TASKS)
    expect_error(manifest, "train-000000.index.json", key, "is not a key")


# --- a missing or changed file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [TAR, TAR.replace(".tar", ".index.json")])
def test_a_missing_file(folder, file):
    (folder / file).unlink()
    expect_error(Manifest.load(folder), file, None, "is missing")


def test_a_changed_index(folder):
    index = TAR.replace(".tar", ".index.json")
    change(folder / index, 100)
    expect_error(Manifest.load(folder), index, None, "differs from the index that the manifest names")


@pytest.mark.parametrize("samples", [2, 4])
def test_an_index_of_more_or_less_samples_than_the_manifest(folder, samples):
    entry = json.loads((folder / NAME).read_text())
    entry["splits"]["train"][1]["samples"] = samples
    (folder / NAME).write_text(json.dumps(entry))
    message = f"lists 3 samples, where the manifest says {samples}"
    expect_error(Manifest.load(folder), TAR.replace(".tar", ".index.json"), None, message)


@pytest.mark.parametrize("change", [{"offset": -512}, {"length": 10**15}, {"offset": 10**15}, {"length": -(10**15)}])
def test_an_index_that_points_out_of_its_shard(folder, change):
    path = (folder / TAR).with_suffix(".index.json")
    index = json.loads(path.read_text())
    index["samples"][2] |= change
    path.write_text(json.dumps(index))
    expect_error(seal_and_load(folder), path.name, "train-005", "lies outside its shard")


def test_an_empty_split(tmp_path):
    manifest = pack(Tiny(train=0, val=2), tmp_path)
    error = raised_error(read_all, manifest)
    assert error.file == tmp_path / NAME
    assert str(error).endswith("split 'train' is empty; it has the splits: val")
    assert verify(manifest) == 2


def test_a_manifest_of_a_newer_version(folder):
    entry = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(entry | {"format": 2}))
    error = raised_error(Manifest.load, folder)
    assert (error.file, error.key) == (folder / NAME, "format")
    assert "update tutelage" in error.hint


# --- a full disk -----------------------------------------------------------------------------------------------------


class FullDisk:
    """A disk with a limited number of free bytes."""

    def __init__(self, free_bytes):
        self.free_bytes = free_bytes

    def open(self, path, mode="r", *args, **options):
        if mode != "wb":
            return io.open(path, mode, *args, **options)  # noqa: UP020
        disk = self

        class File(io.FileIO):
            def write(self, data):
                if disk.free_bytes < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                disk.free_bytes -= len(data)
                return super().write(data)

        return io.BufferedWriter(File(path, "w"))


def test_no_space_left_at_any_moment(tiny_dataset, tmp_path, monkeypatch):
    """Whenever the disk is full: an error, no incomplete file, and the same bytes once there is space."""
    expected = {path.name: path.read_bytes() for path in tiny_dataset.folder.iterdir()}
    size = sum(map(len, expected.values()))
    for capacity in [0, 100, *range(2_000, size, size // 12), size - 1]:
        out = tmp_path / str(capacity)
        with monkeypatch.context() as patch:
            disk = FullDisk(capacity)
            patch.setattr(Path, "open", lambda self, *args, disk=disk, **options: disk.open(self, *args, **options))
            error = raised_error(lambda out: pack(Tiny(), out, samples_per_shard=3), out)
        assert Path(error.file).parent == out and "no space left" in error.what
        assert "free some space and start the same command again" in error.hint
        remaining = {path.name: path.read_bytes() for path in out.iterdir()}
        assert remaining.items() < expected.items() and NAME not in remaining
        pack(Tiny(), out, samples_per_shard=3)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
