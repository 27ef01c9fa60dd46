"""Encoding and decoding labels and images, and refusing images of another format or mode."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import DEPTH, NORMALS, SEMSEG, png

import shards.codec
from shards.codec import (
    decode_confidence,
    decode_rgb,
    encode_confidence,
    encode_rgb,
    is_key,
    key_of,
    open_image,
    rgb_extension,
)
from shards.errors import UserError
from shards.tasks import IGNORE


def rgb_bytes(image_format, mode="RGB", **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, image_format, **options)
    return buffer.getvalue()


def test_classes_come_back_as_they_were():
    label = np.array([[0, 1, 2], [3, IGNORE, 0]], np.uint8)
    restored = SEMSEG.storage.decode(SEMSEG.storage.encode(label))
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, label)


def test_a_class_out_of_range_is_refused_both_ways():
    label = np.array([[0, 4]], np.uint8)
    for convert in (lambda: SEMSEG.storage.encode(label), lambda: SEMSEG.storage.decode(png(label))):
        with pytest.raises(UserError, match=r"class 4 is out of range \(0..3, 255 for none\); correct the label"):
            convert()


def test_metric_values_are_rounded_to_the_nearest_step():
    metres = np.array([[0, 0.5, 1.2344, 1.2346, 65.535]], np.float32)
    restored = DEPTH.storage.decode(DEPTH.storage.encode(metres))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, [[0, 0.5, 1.234, 1.235, 65.535]], rtol=1e-6)


def test_a_measured_value_never_becomes_a_missing_one():
    metres = np.array([[1e-6, 0.0004, 65.5354, 0, -1, np.nan]], np.float32)
    restored = DEPTH.storage.decode(DEPTH.storage.encode(metres))
    np.testing.assert_allclose(restored, [[0.001, 0.001, 65.535, 0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            70,
            r"holds 70 m, over the 65.535 m that 16 bits hold in steps of 0.001; floats fit with scale: 0.002, or",
        ),
        (np.inf, r"holds inf m, over the 65.535 m .*; declare range: \[0, 65.535\] if larger values are not measurem"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused_and_a_prediction_is_the_nearest_that_can(value, message):
    metres = np.array([[1, value, 1e-6, 0, np.nan]], np.float32)
    with pytest.raises(UserError, match=message):
        DEPTH.storage.encode(metres)
    clipped = DEPTH.storage.storable(metres)
    np.testing.assert_allclose(clipped, [[1, 65.535, 0.001, 0, 0]], rtol=1e-6)
    for encoded in (DEPTH.storage.encode(clipped), DEPTH.storage.write_file(metres)):
        np.testing.assert_array_equal(DEPTH.storage.decode(encoded), clipped)


@given(st.lists(st.integers(0, 65535), min_size=1), st.sampled_from([0.001, 1 / 128, 0.0002, 3.0]))
def test_every_stored_step_comes_back_to_itself(steps, scale):
    task = type(DEPTH)("depth", "scalar", scale=scale, unit="m")
    stored = png(np.array([steps], np.uint16))
    encoded = task.storage.encode(task.storage.decode(stored))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), [steps])


def test_unit_vectors_keep_their_direction_and_zero_stays_zero():
    vectors = np.random.default_rng(0).normal(size=(16, 16, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[0] = np.eye(3)[np.arange(16) % 3] * np.where(np.arange(16) < 8, 1, -1)[:, None]
    vectors[1] = 0
    restored = NORMALS.storage.decode(NORMALS.storage.encode(vectors))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, vectors, atol=0.5 / 127 + 1e-6)
    np.testing.assert_array_equal(restored[:2], vectors[:2])  # axes and "no label" exactly
    assert np.any(restored[2:] != 0, axis=-1).all()


@given(
    st.integers(0, 10_000),
    st.lists(st.floats(0, 1, width=32, exclude_min=True), min_size=1),
    st.lists(st.integers(-3, 3), min_size=1),
)
def test_a_stored_confidence_is_on_the_side_of_the_threshold_where_it_was(threshold, confidences, offsets):
    """For every threshold of up to four decimals; half of the values are neighbours of the threshold itself."""
    limit = threshold / 10_000
    neighbours = [np.float32(limit) + offset * np.spacing(np.float32(limit)) for offset in offsets]
    confidence = np.array([[*confidences, *(neighbour for neighbour in neighbours if 0 < neighbour <= 1)]], np.float32)
    restored = decode_confidence(encode_confidence(confidence))
    np.testing.assert_array_equal(restored > limit, confidence.astype(np.float64) > limit)
    np.testing.assert_allclose(restored, confidence, atol=1.1e-5)


def test_rgb_arrays_become_a_close_jpeg():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    rgb = np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.uint8(128)), axis=-1)
    data = encode_rgb(rgb)
    assert rgb_extension(data) == "jpg"
    assert np.abs(decode_rgb(data, "jpg").astype(int) - rgb).max() <= 8


@pytest.mark.parametrize(
    ("image_format", "extension", "options"),
    [("PNG", "png", {}), ("WEBP", "webp", {"lossless": True}), ("JPEG", "jpg", {"quality": 95})],
)
def test_rgb_bytes_are_known_by_their_signature(image_format, extension, options):
    data = rgb_bytes(image_format, **options)
    assert rgb_extension(data) == extension
    np.testing.assert_array_equal(decode_rgb(data, extension), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"RIFF....WAVE", b"\x80\x04K\x01."])
def test_other_bytes_are_no_rgb(data):
    assert rgb_extension(data) is None


def test_the_decoder_follows_from_the_name_and_not_from_the_bytes():
    with pytest.raises(UserError, match="is not a PNG image that can be decoded"):
        decode_rgb(rgb_bytes("JPEG"), "png")
    with pytest.raises(UserError, match="is not a PNG image that can be decoded"):
        SEMSEG.storage.decode(rgb_bytes("JPEG", "L"))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_rgb_of_another_mode_is_refused(mode):
    with pytest.raises(UserError, match=f"is a {mode} image, not 8-bit RGB; convert"):
        decode_rgb(rgb_bytes("PNG", mode), "png")


@pytest.mark.parametrize("task", [SEMSEG, DEPTH, NORMALS, None], ids=lambda task: task.name if task else "confidence")
def test_labels_of_another_mode_are_refused(task):
    arrays = {
        "L": np.zeros((2, 2), np.uint8),
        "I;16": np.zeros((2, 2), np.uint16),
        "RGB": np.zeros((2, 2, 3), np.uint8),
    }
    expected_mode = {"semseg": "L", "normals": "RGB"}.get(task.name if task else "", "I;16")
    for mode, array in arrays.items():
        if mode != expected_mode:
            with pytest.raises(UserError, match=f"is a {mode} image, expected {expected_mode}; prepare"):
                task.storage.decode(png(array)) if task else decode_confidence(png(array))


def test_an_image_over_the_pixel_limit_is_refused_before_it_is_decoded(monkeypatch):
    """A file of a few bytes claims 8001 × 8000 pixels: decoding it would raise another error, for lack of data."""
    header = struct.pack(">IIBBBBB", 8001, 8000, 8, 0, 0, 0, 0)
    bomb = bytearray(png(np.zeros((1, 1), np.uint8)))
    bomb[16:29], bomb[29:33] = header, struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(UserError, match="8001x8000 pixels are over the limit of 64000000; resize"):
        SEMSEG.storage.decode(bytes(bomb))
    monkeypatch.setattr(shards.codec, "MAX_PIXELS", 53)
    with pytest.raises(UserError, match="9x6 pixels are over the limit of 53"):
        decode_rgb(rgb_bytes("JPEG"), "jpg")
    monkeypatch.setattr(shards.codec, "MAX_PIXELS", 54)
    assert decode_rgb(rgb_bytes("JPEG"), "jpg").shape == (6, 9, 3)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
@given(data=st.data())
def test_damaged_bytes_decode_or_raise_the_one_error(image_format, data):
    damaged = bytearray(rgb_bytes(image_format))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        open_image(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]), image_format)
    except UserError as error:
        assert error.hint and "\n" not in str(error)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_the_error_for_bytes_that_are_no_image_has_no_address(image_format):
    expected = f"is not a {image_format} image that can be decoded; replace the file or make it again"
    with pytest.raises(UserError, match=f"^{expected}$"):
        open_image(b"none", image_format)


@given(st.text())
def test_keys_hold_no_dot(stem):
    key = key_of(stem)
    assert len(key) == len(stem) and "." not in key
    assert is_key(key) == bool(stem)
    assert key_of(key) == key


def test_a_key_keeps_what_it_may():
    assert key_of("site a/frame-01.left_cam") == "site_a_frame-01_left_cam"
    assert not is_key("a.b") and not is_key("a/b") and not is_key("")
