"""What a sample's members hold as bytes: pictures and the images of labels, in the formats that a data set may choose.

Of tiled TIFF (:mod:`shards.tiles`) and JPEG with restart markers (:mod:`shards.restarts`) a window is decoded alone; of
everything else the whole image is.
"""

import io
from typing import Literal, get_args

import numpy as np
from PIL import Image

from shards.codec import RGB_FORMATS, check_pixels, decode_png, decode_rgb, encode_png, encode_rgb
from shards.errors import UserError
from shards.extras import EXTRAS, need
from shards.restarts import cut_jpeg, encode_restarts
from shards.tiles import decode_tiles, encode_tiles
from shards.window import Window

LABEL_FORMATS = ("png", "tif")
"""Extensions of label members. A manifest that names none means PNG."""
PICTURES = (*RGB_FORMATS, "tif")
"""Extensions of ``KEY.rgb``."""

Profile = Literal["archive", "train", "train-jpeg"]
"""How ``prepare`` stores images.

- ``archive``: pictures in their own bytes where they come as a file and need no change, else as JPEG; labels as PNG.
- ``train``: the same pixels, for training on crops: labels and lossless pictures as tiled TIFF, what ``archive`` makes
  JPEG as JPEG with restart markers. Lossy pictures keep their own bytes.
- ``train-jpeg``: as ``train``, but lossless pictures become JPEG with restart markers, of quality 95.
"""
PROFILES = get_args(Profile)


def need_profile(profile: Profile) -> None:
    """Make sure, before any work is done, that what a profile needs is installed.

    Raises:
        UserError: naming what is missing, and what to install.
    """
    if profile != "archive":
        need(f"--profile {profile}", *EXTRAS["tiles"])


def label_format(profile: Profile) -> str:
    """The extension of a profile's label members."""
    return "png" if profile == "archive" else "tif"


def encode_picture(rgb: np.ndarray, data: bytes | None, extension: str, profile: Profile) -> tuple[str, bytes]:
    """Extension and bytes of ``KEY.rgb``.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        data: the file that holds just these pixels, of which ``extension`` is the format; None if there is none.
    """
    if profile == "archive":
        return (extension, data) if data is not None else ("jpg", encode_rgb(rgb))
    if data is None or (profile == "train-jpeg" and _lossless(data, extension)):
        return "jpg", encode_restarts(rgb)
    return ("tif", encode_tiles(rgb)) if _lossless(data, extension) else (extension, data)


def _lossless(data: bytes, extension: str) -> bool:
    """Whether a file is a PNG, or a WebP with a chunk of lossless pixels (RFC 9649, section 2)."""
    place = 12
    while extension == "webp" and place + 8 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        place += 8 + size + size % 2
    return extension == "png"


def decode_picture(data: bytes, extension: str, window: Window | None = None) -> np.ndarray:
    """``(H, W, 3)`` uint8 of a member ``KEY.rgb.EXTENSION``, all of it or a window.

    Raises:
        UserError: when it does not decode, or is not 8-bit RGB.
    """
    if extension == "tif":
        return decode_tiles(data, "RGB", window)
    if window is not None and extension == "jpg":
        part, within = cut_jpeg(data, window)
        if part is not data:
            return within.cut(decode_rgb(part, extension))
    rgb = decode_rgb(data, extension)
    if window is None:
        return rgb
    window.check((rgb.shape[0], rgb.shape[1]))
    return window.cut(rgb)


def encode_label(stored: np.ndarray, extension: str) -> bytes:
    """``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8, without loss."""
    return encode_tiles(stored) if extension == "tif" else encode_png(stored)


def decode_label(data: bytes, mode: str, extension: str, window: Window | None = None) -> np.ndarray:
    """The numbers that an image stores, all or those of a window.

    Args:
        mode: what it is due to be, of :data:`shards.codec.MODES`.

    Raises:
        UserError: when it does not decode, or has another mode.
    """
    if extension == "tif":
        return decode_tiles(data, mode, window)
    stored = decode_png(data, mode)
    if window is None:
        return stored
    window.check((stored.shape[0], stored.shape[1]))
    return window.cut(stored)


def picture_size(data: bytes, extension: str) -> tuple[int, int]:
    """Height and width of a member ``KEY.rgb.EXTENSION``, by its header.

    Raises:
        UserError: when it has none, or too many pixels.
    """
    name = RGB_FORMATS.get(extension, "TIFF")
    try:
        image = Image.open(io.BytesIO(data), formats=(name,))
    except Exception as error:  # Pillow meets damage with nearly any
        raise UserError(f"is not a {name} image ({error})", hint="make it again") from error
    check_pixels(image)
    return image.height, image.width
