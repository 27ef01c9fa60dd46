"""Suspicious values of a source get the same remarks as those of files."""

import numpy as np
import pytest
from ownsource import GOOD, METRES, SHAPE, Own, make_frame
from tiny import DEPTH, SEMSEG

from shards.inspect import remarks
from shards.pack import pack
from shards.read import ShardReader
from shards.sources.checked import check_source
from shards.sources.normals import WithNormals
from shards.sources.scenes import Scenes
from shards.tasks import Task


@pytest.fixture
def pack_frame(tmp_path):
    """``pack_frame(frame, **parts)`` packs a source of this frame; returns the remarks and the first frame's arrays."""

    def pack_frame(frame, **parts):
        manifest = pack(Own(frame, **({"tasks": (SEMSEG, DEPTH)} | parts)), tmp_path / "out")
        reader = ShardReader(manifest, manifest.shards("train")[0])
        return "\n".join(remarks(manifest)), reader.decode(0)

    return pack_frame


def with_value(value, rows=3):
    depth = METRES.copy()
    depth[:rows] = value
    return make_frame(depth=depth)


def test_the_largest_value_that_can_be_stored_is_told(pack_frame):
    text, arrays = pack_frame(with_value(65.535))
    assert "train: depth: 65.535 m, the largest value that can be stored, counts as a measurement; if it" in text
    assert "give 0 there (2 frames, 60 pixels; the first is a: 38 % of it)" in text
    assert arrays["depth"][0, 0] == np.float32(65.535)


def test_a_largest_value_that_many_pixels_share_is_told(pack_frame):
    text, _ = pack_frame(with_value(40))
    assert (
        "many pixels share the largest value, as where a limit or the sky is meant; if it means no measurement, give"
        in text
    )


def test_negative_values_are_no_measurement_and_told(pack_frame):
    text, arrays = pack_frame(with_value(-1))
    assert (
        "depth: negative numbers count as no measurement: this kind stores positive values (2 frames, 60 pixels" in text
    )
    assert not arrays["depth"][:3].any() and arrays["depth"][3:].all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinite_is_no_measurement(pack_frame, value):
    frame = with_value(value)
    original_depth = frame.labels["depth"].copy()
    _, arrays = pack_frame(frame)
    assert not arrays["depth"][:3].any()
    np.testing.assert_allclose(arrays["depth"][3:], METRES[3:], atol=0.0006)
    np.testing.assert_array_equal(frame.labels["depth"], original_depth, "the source's own array was changed")


def test_nothing_is_said_of_what_is_right(pack_frame):
    text, _ = pack_frame(GOOD)
    assert text == "semseg: no pixel of train is of 3 of the classes: wall, person, shelf\n" + text.split("\n")[1]


def test_an_assumed_zoom_is_reported(pack_frame):
    disparity, other = (Task(name, "scalar", scale=1 / 256) for name in ("disparity", "other"))
    text, _ = pack_frame(make_frame(disparity=METRES, other=METRES), tasks=(disparity, other))
    assert "disparity: zoom: multiply is assumed of its name; declare zoom if that is wrong" in text
    assert "other: it is not known what enlarging an image does to the values: zoom: divide is assumed; declare" in text


def test_a_declared_zoom_is_not_reported(pack_frame):
    declared = Task("disparity", "scalar", scale=1 / 256, zoom="multiply")
    text, _ = pack_frame(make_frame(disparity=METRES), tasks=(declared,))
    assert "zoom" not in text


def test_shipped_sources_are_taken_as_they_are():
    frame = Scenes(1, 1, (16, 24)).load("train", 0)
    depth = check_source(Scenes(1, 1, (16, 24))).load("train", 0).labels["depth"]
    np.testing.assert_array_equal(depth, frame.labels["depth"])


def test_a_grey_image_is_made_rgb_and_told(pack_frame):
    text, arrays = pack_frame(make_frame(np.full(SHAPE, 9, np.uint8), depth=METRES))
    assert "train: rgb: grey: made RGB (2 frames; the first is a: L)" in text
    assert arrays["rgb"].shape == (*SHAPE, 3)


@pytest.mark.parametrize(
    "splits", [{"train": ["a"]}, {"train": ["a"], "validation": ["b"]}, {"train": ["a"], "val": []}]
)
def test_a_split_that_no_run_finds_is_told(pack_frame, splits):
    parts = {"splits": splits, "notices": lambda: ["two rooms are left out"]}
    text, _ = pack_frame(GOOD, **parts)
    assert text.startswith("two rooms are left out\n")
    source = WithNormals(Own(GOOD, tasks=(DEPTH,), **parts))
    assert len(check_source(source).notices()) == 2, "none of them is said twice"
    assert "splits: val has no frames, so nothing can be measured on it; the splits of a run are train and val" in text
