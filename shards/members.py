"""Encode and decode a sample's members, pictures and images of labels, in the formats that a data set may choose.

A window of tiled TIFF (:mod:`shards.tiles`) or JPEG with restart markers (:mod:`shards.restarts`) is decoded alone; of
PNG, the rows down to its last one (:mod:`shards.png`); of all other formats, the whole image.
"""

import io
from typing import Literal, get_args

import numpy as np
from PIL import Image

from shards.codec import RGB_FORMATS, check_pixels, decode_png, decode_rgb, encode_png, encode_rgb, reason_of
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
    """Check, before any work is done, that the packages that a profile needs are installed.

    Raises:
        UserError: naming the missing packages, and what to install.
    """
    if profile != "archive":
        need(f"--profile {profile}", *EXTRAS["tiles"])


def label_format(profile: Profile) -> str:
    """Return the extension of a profile's label members."""
    return "png" if profile == "archive" else "tif"


def encode_picture(rgb: np.ndarray, data: bytes | None, extension: str, profile: Profile) -> tuple[str, bytes]:
    """Return extension and bytes of the member ``KEY.rgb``.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        data: bytes of a file with exactly these pixels; None if there is none.
        extension: the format of ``data``.
        profile: how images are stored.
    """
    if profile == "archive":
        return (extension, data) if data is not None else ("jpg", encode_rgb(rgb))
    if data is None or (profile == "train-jpeg" and _lossless(data, extension)):
        return "jpg", encode_restarts(rgb)
    return ("tif", encode_tiles(rgb)) if _lossless(data, extension) else (extension, data)


def _lossless(data: bytes, extension: str) -> bool:
    """Whether a file is a PNG, or a WebP with a chunk of lossless pixels (RFC 9649, section 2)."""
    offset = 12
    while extension == "webp" and offset + 8 <= len(data):
        name, size = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        if name in (b"VP8L", b"VP8 "):
            return name == b"VP8L"
        offset += 8 + size + size % 2
    return extension == "png"


def decode_picture(data: bytes, extension: str, window: Window | None = None) -> np.ndarray:
    """Decode a member ``KEY.rgb.EXTENSION``, or a window of it, to ``(H, W, 3)`` uint8.

    Raises:
        UserError: when it does not decode, or is not 8-bit RGB.
    """
    if extension == "tif":
        return decode_tiles(data, "RGB", window)
    if window is not None and extension == "jpg":
        part, part_window = cut_jpeg(data, window)
        if part is not data:
            return decode_rgb(part, extension, part_window)
    return decode_rgb(data, extension, window)


def encode_label(stored: np.ndarray, extension: str) -> bytes:
    """Encode ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8, without loss."""
    return encode_tiles(stored) if extension == "tif" else encode_png(stored)


def decode_label(data: bytes, mode: str, extension: str, window: Window | None = None) -> np.ndarray:
    """Decode the stored values of a label's image, or of a window of it.

    Args:
        data: bytes of the image.
        mode: the expected mode, one of :data:`shards.codec.MODES`.
        extension: one of :data:`LABEL_FORMATS`.
        window: the window; None for the whole image.

    Raises:
        UserError: when it does not decode, or has another mode.
    """
    return decode_tiles(data, mode, window) if extension == "tif" else decode_png(data, mode, window)


def picture_size(data: bytes, extension: str) -> tuple[int, int]:
    """Return height and width of a member ``KEY.rgb.EXTENSION`` from its header.

    Raises:
        UserError: when the header cannot be read, or the image has too many pixels.
    """
    name = RGB_FORMATS.get(extension, "TIFF")
    try:
        image = Image.open(io.BytesIO(data), formats=(name,))
    except Exception as error:  # Pillow raises nearly any type for damaged files
        raise UserError(f"is not a {name} image{reason_of(error)}", hint="make it again") from error
    check_pixels(image)
    return image.height, image.width
