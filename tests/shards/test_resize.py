"""Resizing frames: colours are averaged, and labels keep to values that occur."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.resize import resize_label, resize_rgb

sides = st.integers(1, 12)


def test_shrinking_rgb_averages_areas():
    rgb = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    means = rgb.reshape(4, 2, 4, 3, 3).mean((1, 3))
    np.testing.assert_allclose(resize_rgb(rgb, (4, 4)), means, atol=1)


def test_growing_rgb_interpolates():
    rgb = np.zeros((1, 2, 3), np.uint8)
    rgb[0, 1] = 200
    np.testing.assert_allclose(resize_rgb(rgb, (1, 4))[0, :, 0], [0, 50, 150, 200], atol=1)


def test_a_frame_of_the_right_size_is_left_alone():
    rgb, label = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)
    assert resize_rgb(rgb, (4, 6)) is rgb
    assert resize_label(label, (4, 6)) is label


def test_labels_take_the_value_under_each_new_pixels_centre():
    label = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_array_equal(resize_label(label, (2, 2)), [[5, 7], [13, 15]])
    np.testing.assert_array_equal(resize_label(label[:1, :2], (1, 4)), [[0, 0, 1, 1]])
    np.testing.assert_array_equal(resize_label(label[:1], (1, 3))[0], [0, 2, 3])


@given(sides, sides, sides, sides, st.sampled_from([(), (3,)]))
def test_no_label_value_is_invented(height, width, new_height, new_width, channels):
    pixels = np.arange(height * width, dtype=np.float32).reshape(height, width)
    label = np.broadcast_to(pixels.reshape(height, width, *(1 for _ in channels)), (height, width, *channels))
    resized = resize_label(label, (new_height, new_width))
    assert resized.shape == (new_height, new_width, *channels) and resized.dtype == label.dtype
    assert set(resized.ravel()) <= set(pixels.ravel())
    source_pixels = np.unravel_index(resized.reshape(new_height, new_width, -1)[..., 0].astype(int), (height, width))
    for axis, (old, new) in enumerate([(height, new_height), (width, new_width)]):
        centres = (np.moveaxis(source_pixels[axis], axis, -1) + 0.5) / old
        expected = (np.arange(new) + 0.5) / new
        assert np.abs(centres - expected).max() <= 0.5 / old + 1e-9


@pytest.mark.parametrize("resize", [resize_rgb, resize_label])
def test_shapes_are_height_by_width(resize):
    assert resize(np.zeros((4, 6, 3), np.uint8), (2, 9)).shape == (2, 9, 3)
