"""Depth in OpenEXR files, written by OpenEXR itself."""

import numpy as np
import OpenEXR
import pytest

import shards.exr
from shards import extras
from shards.errors import BadFile, UserError
from shards.exr import read_exr
from shards.kinds.scalarfile import read_scalar
from shards.tasks import Task

Z = np.linspace(0.5, 8, 24, dtype=np.float32).reshape(4, 6)
DEPTH = Task("depth", "scalar", scale=0.001)


@pytest.fixture
def write(tmp_path):
    def write(channels, **header):
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
        OpenEXR.File(header, channels).write(str(tmp_path / "z.exr"))
        return tmp_path / "z.exr"

    return write


@pytest.mark.parametrize(
    "channels",
    [{"Z": Z}, {"R": Z}, {"ViewLayer.Depth.V": Z, "ViewLayer.Mist.M": Z[::-1]}, {"R": Z, "G": Z, "B": Z}],
    ids=lambda channels: " ".join(channels),
)
def test_the_channel_that_is_meant(write, channels):
    np.testing.assert_array_equal(
        read_exr(write({name: np.ascontiguousarray(array) for name, array in channels.items()})), Z
    )


def test_half_floats(write):
    assert read_exr(write({"Z": Z.astype(np.float16)})).dtype == np.float32


def test_a_declared_channel(write):
    path = write({"Z": Z, "near": Z / 2})
    np.testing.assert_array_equal(read_scalar(path, DEPTH, {"channel": "near"}), Z / 2)
    with pytest.raises(UserError, match=r"z\.exr: has no channel far; it has Z, near"):
        read_exr(path, "far")


def test_what_lies_outside_the_data_window_is_not_measured(write):
    window = (np.array([-1, -2], np.int32), np.array([6, 3], np.int32))
    depth = read_exr(write({"Z": Z}, displayWindow=window))
    assert depth.shape == (6, 8)
    np.testing.assert_array_equal(depth[2:6, 1:7], Z)
    assert np.count_nonzero(depth) == Z.size
    smaller = (np.array([1, 1], np.int32), np.array([3, 2], np.int32))
    np.testing.assert_array_equal(read_exr(write({"Z": Z}, displayWindow=smaller)), Z[1:3, 1:4])


def test_several_channels_that_could_be_meant(write):
    with pytest.raises(UserError, match=r"z\.exr: has the channels near, far; declare|has the channels far, near"):
        read_exr(write({"near": Z, "far": 2 * Z}))


@pytest.mark.parametrize("keep", [0, 10, 300, -5])
def test_a_damaged_file(write, keep):
    path = write({"Z": Z})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        BadFile, match=r"z\.exr: is not an EXR file that can be (read|decoded); render or copy it again"
    ):
        read_exr(path)


def test_a_file_over_the_pixel_limit(write, monkeypatch):
    monkeypatch.setattr(shards.exr, "MAX_PIXELS", 23)
    with pytest.raises(BadFile, match=r"z\.exr: 24 pixels are over the limit of 23; resize"):
        read_exr(write({"Z": Z}))


def test_the_extra_is_named(write, monkeypatch):
    path = write({"Z": Z})
    monkeypatch.setattr(extras, "installed", lambda module: False)
    with pytest.raises(UserError, match=r"EXR.* needs OpenEXR; pip install 'tutelage\[exr\]'"):
        read_exr(path)
