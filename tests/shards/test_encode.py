"""The members that a frame becomes."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import DEPTH, NORMALS, SEMSEG, SIZE, Tiny, png

from shards.codec import decode_rgb
from shards.encode import encode
from shards.errors import UserError
from shards.resize import resize_label
from shards.sources.base import Frame


def test_a_frame_becomes_the_members_that_it_has():
    source = Tiny()
    for position, labels in ((0, ["semseg", "depth"]), (2, ["depth"]), (7, ["semseg"]), (11, [])):
        frame = source.load("train", position)
        sample = encode(frame, "k", source.tasks, None)
        rgb = "rgb.jpg" if position % 2 else "rgb.png"
        assert list(sample.members) == [rgb, *(f"{name}.png" for name in labels), "json"]
        assert list(sample.statistics) == labels
        if "semseg" in labels:
            np.testing.assert_array_equal(SEMSEG.storage.decode(sample.members["semseg.png"]), frame.labels["semseg"])
        meta = json.loads(sample.members["json"])
        assert meta == {"original_size": [*SIZE], "position": position}


def test_the_sources_own_bytes_are_kept_where_the_size_stays():
    frame = Tiny().load("train", 0)
    assert encode(frame, "k", (), None).members["rgb.png"] is frame.rgb
    assert encode(frame, "k", (), SIZE).members["rgb.png"] is frame.rgb


def test_frames_are_resized_with_their_labels():
    frame = Tiny().load("train", 0)
    members = encode(frame, "k", (SEMSEG, DEPTH), (16, 48)).members
    assert list(members) == ["rgb.jpg", "semseg.png", "depth.png", "json"]
    assert decode_rgb(members["rgb.jpg"], "jpg").shape == (16, 48, 3)
    semseg = SEMSEG.storage.decode(members["semseg.png"])
    np.testing.assert_array_equal(semseg, resize_label(frame.labels["semseg"], (16, 48)))
    assert DEPTH.storage.decode(members["depth.png"]).shape == (16, 48)
    assert json.loads(members["json"])["original_size"] == [*SIZE]


RGB = np.zeros((4, 6, 3), np.uint8)
FILES = {name: Path(f"raw/{name}.png") for name in ("rgb", "semseg", "depth", "normals")}


@pytest.mark.parametrize(
    ("rgb", "labels", "member", "what"),
    [
        (b"GIF89a", {}, "rgb", "rgb is neither JPEG, PNG nor WebP; convert"),
        (png(RGB)[:40], {}, "rgb", "rgb is not a PNG image that can be decoded; replace"),
        (png(RGB[..., 0]), {}, "rgb", "rgb is a L image, not 8-bit RGB; convert"),
        (RGB, {"semseg": np.zeros((6, 4), np.uint8)}, "semseg", "semseg is 6x4, its image 4x6; give every label"),
        (RGB, {"depth": np.ones((4, 5), np.float32)}, "depth", "depth is 4x5, its image 4x6; register it"),
        (png(RGB), {"normals": np.ones((3, 6, 3), np.float32)}, "normals", "normals is 3x6, its image 4x6"),
        (RGB, {"semseg": np.full((4, 6), 4, np.uint8)}, "semseg", "semseg class 4 is out of range .0..3.*; correct"),
    ],
    ids=lambda parameter: "bytes" if isinstance(parameter, bytes) else None,
)
@pytest.mark.parametrize("size", [None, (2, 3)])
def test_a_frame_that_contradicts_itself_names_its_raw_file_and_key(rgb, labels, member, what, size):
    with pytest.raises(UserError, match=what) as caught:
        encode(Frame(rgb, labels, files=FILES), "frame-7", (SEMSEG, DEPTH, NORMALS), size)
    assert (caught.value.file, caught.value.key) == (FILES[member], "frame-7")
    assert "\n" not in str(caught.value)
