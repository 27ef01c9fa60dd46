"""Encode arrays as the bytes of a shard's members and decode them, by explicit decoders only.

Which decoder runs follows from the member's name and the manifest's tasks, never from the bytes: a member that is not a
PNG where a PNG is expected is an error, and nothing is ever unpickled. Labels: :mod:`shards.kinds`.
"""

import io
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

from shards.errors import BadFile, UserError
from shards.fastdecode import fast_jpeg, fast_png
from shards.window import Window, cut_window

MAX_PIXELS = 64_000_000
"""Limit of an image's pixels, since a few kilobytes of PNG can claim to be gigabytes of pixels."""
RGB_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
CONFIDENCE_STEPS = 50_000
"""Number of steps of a stored confidence. Every threshold with up to four decimals lies between two of them."""
MODES = {"L": ("uint8", 1), "I;16": ("uint16", 1), "RGB": ("uint8", 3)}
"""Type and channels of the images that labels are stored as, by Pillow's name of the mode."""
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_-]")


def key_of(stem: str) -> str:
    """Make a sample key of a file's stem: every character outside ``[A-Za-z0-9_-]`` becomes ``_``, since WebDataset
    splits a member's name at its first dot."""
    return _NOT_IN_KEYS.sub("_", stem)


def is_key(text: str) -> bool:
    return bool(text) and _NOT_IN_KEYS.search(text) is None


def rgb_extension(data: bytes) -> str | None:
    """Return ``jpg``, ``png`` or ``webp`` by the file's signature, or None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def check_pixels(image: Image.Image, limit: int | None = None) -> None:
    """Check, by the header of an opened image, that it has at most ``limit`` pixels, by default :data:`MAX_PIXELS`.

    Raises:
        BadFile: when it has more.
    """
    limit = MAX_PIXELS if limit is None else limit
    if image.width * image.height > limit:
        message = f"{image.width}x{image.height} pixels are over the limit of {limit}"
        raise BadFile(message, hint="resize the image")


def reason_of(error: Exception) -> str:
    """Return the text of an exception that Pillow raised for an image, as a suffix in parentheses; empty where it has
    none but the address of an object."""
    return "" if isinstance(error, UnidentifiedImageError) else f" ({error})"


def open_image(data: bytes, image_format: str, limit: int | None = None) -> Image.Image:
    """Open, decode and size-check an image of the given format (:func:`check_pixels` explains ``limit``).

    Raises:
        UserError: with the reason only; callers that know the file and key add them.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=(image_format,))
        check_pixels(image, limit)
        image.load()
    except UserError:
        raise
    except Exception as error:  # Pillow raises nearly any type for damaged files
        raise BadFile(
            f"is not a {image_format} image that can be decoded{reason_of(error)}",
            hint="replace the file or make it again",
        ) from error
    return image


def encode_rgb(rgb: np.ndarray) -> bytes:
    """Encode ``(H, W, 3)`` uint8 as JPEG of quality 95 without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def decode_rgb(data: bytes, extension: str, window: Window | None = None) -> np.ndarray:
    """Decode a member ``KEY.rgb.EXTENSION``, or a window of it, to ``(H, W, 3)`` uint8.

    Raises:
        UserError: when it does not decode, is not 8-bit RGB, or has another size than the window's frame.
    """
    if extension == "png" and (array := fast_png(data, "RGB", MAX_PIXELS, window)) is not None:
        return array
    if extension == "jpg" and (array := fast_jpeg(data, MAX_PIXELS)) is not None:
        return cut_window(array, window)
    image = open_image(data, RGB_FORMATS[extension])
    if image.mode != "RGB":
        raise UserError(f"is a {image.mode} image, not 8-bit RGB", hint="convert it to 8-bit RGB")
    return cut_window(np.asarray(image), window)


def encode_png(array: np.ndarray) -> bytes:
    """Encode ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8, as PNG without loss."""
    buffer = io.BytesIO()
    # the low bits of 16-bit measurements are noise: a higher level takes eight times as long to save 6 % of the size
    Image.fromarray(array).save(buffer, "PNG", compress_level=1 if array.dtype == np.uint16 else 6)
    return buffer.getvalue()


def decode_png(data: bytes, mode: str, window: Window | None = None) -> np.ndarray:
    """Decode the values of a PNG of Pillow's mode ``L``, ``I;16`` or ``RGB`` (:data:`MODES`), or of a window of it.

    Raises:
        UserError: when it does not decode, or has another mode or another size than the window's frame.
    """
    array = fast_png(data, mode, MAX_PIXELS, window)
    if array is not None:
        return array
    image = open_image(data, "PNG")
    if image.mode != mode:
        raise UserError(f"is a {image.mode} image, expected {mode}", hint="prepare the data set again")
    return cut_window(np.asarray(image), window)


def encode_confidence(confidence: np.ndarray) -> bytes:
    """Encode confidences in 0..1 as 16-bit PNG, rounded so that no stored value crosses a threshold.

    Step ``s`` stands for the confidences in ``(s, s + 1] / CONFIDENCE_STEPS`` and is read as the middle of that
    interval, so for every threshold that is a multiple of 1/50000, ``confidence > threshold`` holds for the
    stored value exactly where it holds for the original.

    Args:
        confidence: ``(H, W)`` float32, greater than 0 and at most 1.
    """
    steps = np.ceil(confidence.astype(np.float64) * CONFIDENCE_STEPS) - 1
    return encode_png(np.clip(steps, 0, CONFIDENCE_STEPS - 1).astype(np.uint16))


def decode_confidence(data: bytes) -> np.ndarray:
    """Decode confidences to ``(H, W)`` float32 in 0..1, as :func:`encode_confidence` rounded them.

    Raises:
        UserError: when the PNG does not decode, or is not a 16-bit one.
    """
    stored = decode_png(data, "I;16")
    return ((stored.astype(np.float64) + 0.5) / CONFIDENCE_STEPS).astype(np.float32)
