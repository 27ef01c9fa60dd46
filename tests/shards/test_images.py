"""RGB files in formats that shards do not store."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from shards.errors import UserError
from shards.images import read_pixels, read_rgb
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


def test_floats_are_no_colours(tmp_path):
    Image.fromarray(np.zeros((4, 6), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: holds floats, not colours; write 8 bits per channel"):
        read_rgb(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif: holds floats"):
        read_pixels(tmp_path / "a.tif")
