"""From arrays to the bytes of a shard's members and back, by explicit decoders only. Labels: :mod:`shards.kinds`.

Which decoder runs follows from the member's name and the manifest's tasks, never from the bytes: a member that
is not a PNG where a PNG is due is an error, and nothing is ever unpickled.
"""

import io
import re

import numpy as np
from PIL import Image

from shards.errors import BadFile, UserError
from shards.fastdecode import fast_jpeg, fast_png

MAX_PIXELS = 64_000_000
"""Images over this are refused: a few kilobytes of PNG can claim to be gigabytes of pixels."""
RGB_FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
CONFIDENCE_STEPS = 50_000
"""Steps of a stored confidence. Every threshold with up to four decimals lies between two of them."""
MODES = {"L": ("uint8", 1), "I;16": ("uint16", 1), "RGB": ("uint8", 3)}
"""By Pillow's name of them, the images that labels are stored as: type and channels."""
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_-]")


def key_of(stem: str) -> str:
    """A sample key from a file's stem: every character outside ``[A-Za-z0-9_-]`` becomes ``_``, since WebDataset
    splits a member's name at its first dot."""
    return _NOT_IN_KEYS.sub("_", stem)


def is_key(text: str) -> bool:
    return bool(text) and _NOT_IN_KEYS.search(text) is None


def rgb_extension(data: bytes) -> str | None:
    """``jpg``, ``png`` or ``webp`` by the file's signature, or None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def check_pixels(image: Image.Image) -> None:
    """Make sure, by an opened image's header, that it has no more pixels than :data:`MAX_PIXELS`.

    Raises:
        UserError: when it has.
    """
    if image.width * image.height > MAX_PIXELS:
        what = f"{image.width}x{image.height} pixels are over the limit of {MAX_PIXELS}"
        raise UserError(what, hint="resize the image")


def open_image(data: bytes, image_format: str) -> Image.Image:
    """Open, decode and size-check an image of one given format.

    Raises:
        UserError: with the plain reason; callers that know the file and key add them.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=(image_format,))
        check_pixels(image)
        image.load()
    except UserError:
        raise
    except Exception as error:  # Pillow meets damage with nearly any exception
        raise BadFile(
            f"is not a {image_format} image that can be decoded ({error})",
            hint="replace the file or make it again",
        ) from error
    return image


def encode_rgb(rgb: np.ndarray) -> bytes:
    """JPEG at quality 95 without chroma subsampling, of ``(H, W, 3)`` uint8."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def decode_rgb(data: bytes, extension: str) -> np.ndarray:
    """``(H, W, 3)`` uint8 of a member ``KEY.rgb.EXTENSION``."""
    array = None
    if extension == "jpg":
        array = fast_jpeg(data, MAX_PIXELS)
    elif extension == "png":
        array = fast_png(data, "RGB", MAX_PIXELS)
    if array is not None:
        return array
    image = open_image(data, RGB_FORMATS[extension])
    if image.mode != "RGB":
        raise UserError(f"is a {image.mode} image, not 8-bit RGB", hint="convert it to 8-bit RGB")
    return np.asarray(image)


def encode_png(array: np.ndarray) -> bytes:
    """A lossless PNG of numbers: ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8."""
    buffer = io.BytesIO()
    # 16-bit measurements are noise in their low bits: a higher level takes eight times as long to save 6 % of the size
    Image.fromarray(array).save(buffer, "PNG", compress_level=1 if array.dtype == np.uint16 else 6)
    return buffer.getvalue()


def decode_png(data: bytes, mode: str) -> np.ndarray:
    """The numbers that a PNG of Pillow's ``L``, ``I;16`` or ``RGB`` stores (:data:`MODES`).

    Raises:
        UserError: when it does not decode, or has another mode.
    """
    array = fast_png(data, mode, MAX_PIXELS)
    if array is not None:
        return array
    image = open_image(data, "PNG")
    if image.mode != mode:
        raise UserError(f"is a {image.mode} image, where {mode} is due", hint="prepare the data set again")
    return np.asarray(image)


def encode_confidence(confidence: np.ndarray) -> bytes:
    """16-bit PNG of confidences in 0..1, rounded so that no stored value crosses a threshold.

    Step ``s`` stands for the confidences in ``(s, s + 1] / CONFIDENCE_STEPS`` and is read as the middle of that
    interval, so for every threshold that is a multiple of 1/50000, ``confidence > threshold`` holds of the stored
    value exactly where it held of the original.

    Args:
        confidence: ``(H, W)`` float32, over 0 and up to 1.
    """
    steps = np.ceil(confidence.astype(np.float64) * CONFIDENCE_STEPS) - 1
    return encode_png(np.clip(steps, 0, CONFIDENCE_STEPS - 1).astype(np.uint16))


def decode_confidence(data: bytes) -> np.ndarray:
    """``(H, W)`` float32 in 0..1, as :func:`encode_confidence` rounded it.

    Raises:
        UserError: when the PNG does not decode, or does not hold 16 bits.
    """
    stored = decode_png(data, "I;16")
    return ((stored.astype(np.float64) + 0.5) / CONFIDENCE_STEPS).astype(np.float32)
