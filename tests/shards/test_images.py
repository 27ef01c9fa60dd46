"""RGB files in formats that shards do not store."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from shards.errors import BadFile, UserError
from shards.images import read_pixels, read_rgb, read_tiff
from shards.notes import collect_notes

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.mark.parametrize("suffix", ["bmp", "tif", "tiff", "ppm", "TIF"])
def test_other_formats_are_read_to_the_pixel_and_told(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RGB).save(path)
    with collect_notes() as notes:
        np.testing.assert_array_equal(read_rgb(path), RGB)
        np.testing.assert_array_equal(read_pixels(path), RGB)
    assert len(notes) == 2 and all("file: made plain RGB" in note.text for note in notes)


def test_the_stored_formats_keep_their_bytes_whatever_their_suffix(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    path = (tmp_path / "a.png").rename(tmp_path / "a.tif")
    assert read_rgb(path) == path.read_bytes()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_tiff_is_turned_once(tmp_path, orientation):
    path, exif = tmp_path / "a.tif", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(path, exif=exif)
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = orientation
    with collect_notes() as notes:
        np.testing.assert_array_equal(read_rgb(path), np.asarray(ImageOps.exif_transpose(image)))
    assert "turned upright by its EXIF orientation" in [note.text for note in notes]


def test_sixteen_bits_of_a_tiff_lose_their_lower_eight_and_it_is_told(tmp_path):
    Image.fromarray(np.full((4, 6), 0x4321, np.uint16)).save(tmp_path / "a.tif")
    with collect_notes() as notes:
        assert (np.asarray(read_rgb(tmp_path / "a.tif")) == 0x43).all()
    assert "of 16 bits a channel, of which the upper 8 are taken" in [note.text for note in notes]


def write_tiff(path, array, sample_format=1):
    """Write integers ``(H, W, C)`` as a TIFF of one strip without compression, which Pillow cannot for all types."""
    height, width, channels = array.shape
    bits = struct.pack("<4H", *[array.itemsize * 8] * channels, *[0] * (4 - channels))
    strip = 8 + len(bits)
    values = array.tobytes()
    tags = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, channels, 8 if channels > 2 else array.itemsize * 8),
        259: (3, 1, 1),
        262: (3, 1, 2 if channels > 2 else 1),
        273: (4, 1, strip),
        277: (3, 1, channels),
        278: (4, 1, height),
        279: (4, 1, len(values)),
        339: (3, 1, sample_format),
    }
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in tags.items())
    header = struct.pack("<2sHI", b"II", 42, strip + len(values))
    path.write_bytes(header + bits + values + struct.pack("<H", len(tags)) + entries + bytes(4))


@pytest.mark.parametrize(("value", "dark"), [(0x4321, False), (0x0FFF, True)])
def test_colours_of_sixteen_bits_in_a_tiff_are_noted(tmp_path, value, dark):
    write_tiff(tmp_path / "a.tif", np.full((4, 6, 3), value, np.uint16))
    with collect_notes() as notes:
        assert (np.asarray(read_rgb(tmp_path / "a.tif")) == value >> 8).all()
    texts = [note.text for note in notes]
    assert "of 16 bits a channel, of which the upper 8 are taken" in texts
    assert any("does not fill its 16 bits" in text for text in texts) == dark


@pytest.mark.parametrize("extreme", [-1, 65536, 65535])
def test_integers_of_a_tiff_that_sixteen_bits_do_not_hold_are_refused(tmp_path, extreme):
    values = np.full((4, 6, 1), 256, np.int32)
    values[0, 0] = extreme
    write_tiff(tmp_path / "a.tif", values, sample_format=2)
    if extreme == 65535:
        assert np.asarray(read_rgb(tmp_path / "a.tif"))[0, :2, 0].tolist() == [255, 1]
    else:
        with pytest.raises(UserError, match=r"a\.tif: holds integers from .*, where 16 bits hold 0 to 65535; scale"):
            read_rgb(tmp_path / "a.tif")


def test_floats_are_no_colours(tmp_path):
    Image.fromarray(np.zeros((4, 6), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: holds floats, not colours; write 8 bits per channel"):
        read_rgb(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: holds floats"):
        read_pixels(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("dtype", "sample_format", "numbers", "narrower"),
    [
        (np.float64, 3, "64-bit floats", "float32"),
        (np.float16, 3, "16-bit floats", "float32"),
        (np.int64, 2, "64-bit integers", "int32"),
        (np.uint64, 1, "64-bit unsigned integers", "int32"),
    ],
)
def test_numbers_that_are_not_read_from_a_tiff_are_named(tmp_path, dtype, sample_format, numbers, narrower):
    write_tiff(tmp_path / "a.tif", np.ones((4, 6, 1), dtype), sample_format)
    message = rf"a\.tif: holds {numbers}, which are not read from a TIFF"
    with pytest.raises(UserError, match=rf"{message}; write array\.astype\('{narrower}'\), or a \.npy file$") as caught:
        read_tiff(tmp_path / "a.tif")
    assert not isinstance(caught.value, BadFile), "every other file is of this type too"
    with pytest.raises(UserError, match=f"{message}; write 8 bits per channel"):
        read_rgb(tmp_path / "a.tif")
    Image.fromarray(np.ones((4, 6), narrower)).save(tmp_path / "a.tif")
    assert (read_tiff(tmp_path / "a.tif") == 1).all(), "the hint is right"


@pytest.mark.parametrize("damage", [4, 8, 100, 130])
def test_a_damaged_tiff_is_called_one(tmp_path, damage):
    write_tiff(tmp_path / "a.tif", np.ones((4, 6, 1), np.float64), 3)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:damage])
    with pytest.raises(BadFile, match=r"a\.tif: is not a TIFF image that can be decoded"):
        read_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbers_are_read_as_stored_whether_white_is_zero_or_black(tmp_path, compression, photometric, dtype):
    values = np.array([[0, 1, 7], [100, 254, 255]], dtype)
    # Pillow inverts what it writes with this tag, too
    drawn = 255 - values if photometric == 0 and dtype == np.uint8 else values
    Image.fromarray(drawn).save(tmp_path / "a.tif", compression=compression, tiffinfo={262: photometric})
    with Image.open(tmp_path / "a.tif") as image:
        assert image.tag_v2[262] == photometric
    assert read_tiff(tmp_path / "a.tif").tolist() == values.tolist()
