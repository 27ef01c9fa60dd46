"""Raw files that cannot be read, among many that can."""

import logging

import numpy as np
import pytest
import tiny
from tiny import Tiny, png
from warehouse import HEIGHT, WIDTH, filled, picture, save, warehouse

import shards.codec
import shards.kinds.scalarfile
from shards.errors import UserError
from shards.inspect import verify
from shards.pack import pack
from shards.read import Readers
from shards.sources.base import Frame


class Unreadable(Tiny):
    """A source whose training frames 2 and 7 and first validation frame have an RGB that does not decode."""

    bad = (2, 7)

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        if position not in self.bad and (split, position) != ("val", 0):
            return frame
        return Frame(png(np.zeros((32, 64, 3), np.uint8))[:-30], frame.labels, frame.meta, frame.files)


def test_worker_processes_leave_them_out_as_well(tmp_path):
    messages: list[str] = []
    source = Tiny(at=4, act=tiny.unreadable)
    manifest = pack(source, tmp_path / "d", samples_per_shard=3, jobs=2, strict=False, set_aside=messages.append)
    assert messages == ["gone.png: cannot be read; restore it"] and manifest.samples("train") == 11


def test_frames_that_cannot_be_read_are_left_out_and_named(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    messages: list[str] = []
    manifest = pack(Unreadable(), tmp_path / "d", samples_per_shard=3, strict=False, set_aside=messages.append)
    assert [(split, manifest.samples(split)) for split in ("train", "val")] == [("train", 10), ("val", 3)]
    assert verify(manifest) == 13 and len(messages) == 4
    assert messages[0].startswith("raw/train/2.png: train-002: rgb is not a PNG image that can be decoded")
    keys = {
        reader.key(i)
        for reader in (Readers(manifest, "train")[shard] for shard in range(4))
        for i in range(len(reader))
    }
    assert keys == {f"train-{i:03d}" for i in range(12) if i not in Unreadable.bad}
    assert pack(Unreadable(), tmp_path / "d", samples_per_shard=3, strict=False) == manifest
    assert caplog.messages == ["already prepared: nothing to do; 4 frames were left out"]


def test_a_dangling_link_is_left_out_and_named(root, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    for name in ("rgb/0000.png", "depth/0002.png"):
        (root / name).unlink()
        (root / name).symlink_to(root / "gone.png")
    messages: list[str] = []
    manifest = pack(warehouse(root, depth_scale=0.001), tmp_path / "d", strict=False, set_aside=messages.append)
    assert [message.partition(" (")[0] for message in messages] == [
        f"{root}/rgb/0000.png: cannot be read",
        f"{root}/depth/0002.png: cannot be read",
    ]
    assert manifest.samples("train") == 1
    assert pack(warehouse(root, depth_scale=0.001), tmp_path / "d", strict=False) == manifest
    assert caplog.messages[-1].startswith("already prepared: nothing to do; 2 frames were left out")


@pytest.mark.parametrize(("name", "array"), [("rgb/0000.png", picture()), ("depth/0000.png", filled(1, np.uint16))])
def test_an_image_over_the_pixel_limit_is_left_out_and_named(root, tmp_path, monkeypatch, name, array):
    monkeypatch.setattr(shards.codec, "MAX_PIXELS", HEIGHT * WIDTH)
    save(root / name, array.repeat(2, 0))
    messages: list[str] = []
    manifest = pack(warehouse(root, depth_scale=0.001), tmp_path / "d", strict=False, set_aside=messages.append)
    assert messages == [f"{root}/{name}: {WIDTH}x{2 * HEIGHT} pixels are over the limit of 24; resize the image"]
    assert manifest.samples("train") == 2


def test_a_depth_array_over_the_pixel_limit_is_left_out_and_named(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shards.kinds.scalarfile, "MAX_PIXELS", HEIGHT * WIDTH)
    (root / "depth/0000.png").unlink()
    np.save(root / "depth/0000.npy", np.ones((2 * HEIGHT, WIDTH), np.float32))
    messages: list[str] = []
    pack(warehouse(root, depth_scale=0.001), tmp_path / "d", strict=False, set_aside=messages.append)
    assert len(messages) == 1 and messages[0].startswith(f"{root}/depth/0000.npy: 48 pixels are over the limit of 24;")


def test_a_strict_call_ends_at_the_first(tmp_path):
    with pytest.raises(UserError, match=r"raw/train/2\.png: train-002: rgb is not a PNG image"):
        pack(Unreadable(), tmp_path / "d", samples_per_shard=3)
    messages: list[str] = []
    pack(Unreadable(), tmp_path / "d", samples_per_shard=3, strict=False, set_aside=messages.append)
    assert len(messages) == 4


def test_a_wrong_declaration_is_no_bad_file(tmp_path):
    """A wrong declaration affects every frame."""
    with pytest.raises(UserError, match="its image"):
        pack(Wrong(), tmp_path / "d", strict=False)


class Wrong(Tiny):
    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        return Frame(frame.rgb, {name: label[:16] for name, label in frame.labels.items()}, frame.meta, frame.files)


def test_a_split_of_which_nothing_can_be_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"d: no frame of val can be read: raw/val/0.png: val-000: rgb is not a PNG"):
        pack(Unreadable(12, 1), tmp_path / "d", strict=False)
    assert pack(Tiny(12, 1), tmp_path / "d").samples("val") == 1, "restored, they are read"
