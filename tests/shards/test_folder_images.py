"""Images of a folder: kinds, orientation, damage."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps
from warehouse import HEIGHT, WIDTH, picture, save, save_bits, warehouse

from shards.codec import decode_rgb
from shards.errors import UserError
from shards.images import read_rgb


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_8_bit_rgb_keeps_its_own_bytes(tmp_path, suffix, kind):
    path = save(tmp_path / f"x.{suffix}", picture(), format=kind)
    assert read_rgb(path) == path.read_bytes()


def test_other_pictures_become_rgb(tmp_path):
    rgb, grey = picture(), picture(channels=1)[..., 0]
    alpha = np.dstack([rgb, grey])
    sixteen = (grey.astype(np.uint16) << 8) + 77
    grey_rgb = np.dstack([grey] * 3)
    for image, expected in ((grey, grey_rgb), (alpha, rgb), (sixteen, grey_rgb)):
        np.testing.assert_array_equal(read_rgb(save(tmp_path / "x.png", image)), expected)
    cmyk = Image.fromarray(np.full((HEIGHT, WIDTH, 3), (250, 10, 10), np.uint8)).convert("CMYK")
    pixels = np.asarray(read_rgb(save(tmp_path / "x.jpg", cmyk, quality=95)))
    assert np.abs(pixels.astype(int) - (250, 10, 10)).max() < 12


def test_16_bit_rgb_becomes_8_bit(tmp_path):
    path = save_bits(tmp_path / "x.png", 16, 2, 1, struct.pack(">3H", 0x1234, 0xABCD, 0xFF00))
    assert np.asarray(read_rgb(path)).tolist() == [[[0x12, 0xAB, 0xFF]]]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.png", picture(), exif=exif)
    np.testing.assert_array_equal(read_rgb(path), np.asarray(ImageOps.exif_transpose(Image.open(path))))


NO_ORIENTATION = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0"  # one tag: orientation 0


@pytest.mark.parametrize("exif", [NO_ORIENTATION, b"MMMM????"])
def test_exif_that_means_nothing_turns_nothing(tmp_path, exif):
    path = save(tmp_path / "x.jpg", picture(), exif=b"Exif\0\0" + exif)
    assert read_rgb(path) == path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_cut_image_is_an_error_that_names_it(root, suffix):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(
        buffer, {"jpg": "JPEG"}.get(suffix, suffix)
    )
    path = root / f"rgb/0009.{suffix}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (root / "val.txt").write_text("0009\n")
    with pytest.raises(UserError, match=r"is not a \w+ image that can be decoded") as caught:
        warehouse(root).load("val", 0)
    assert caught.value.file == path
    assert caught.value.hint


def test_a_picture_of_another_kind_or_none_is_an_error(root):
    source = warehouse(root)
    (root / "rgb/0003.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"rgb/0003.png: is neither JPEG, PNG nor WebP; convert"):
        source.load("val", 0)
    (root / "rgb/0003.png").unlink()
    with pytest.raises(UserError, match=r"rgb/0003.png: cannot be read \(No such file"):
        source.load("val", 0)
    decoded = decode_rgb(source.load("train", 0).rgb, "png")
    np.testing.assert_array_equal(decoded, picture(2))
