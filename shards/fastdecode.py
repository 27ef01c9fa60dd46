"""Decode PNG and JPEG by imagecodecs, where it is installed (``tutelage[tiles]``): Pillow's values in less time.

Both libraries decode with libpng and libjpeg-turbo; imagecodecs saves copies, and has libdeflate (:mod:`shards.png`).
Only images whose header is exactly as expected are decoded here. For everything else, damage above all, the functions
return None, and :mod:`shards.codec` lets Pillow decode or diagnose it.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from shards.png import decode_rows
from shards.window import Window

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
"""The first bytes of a PNG."""
_PNG_MODES = {"L": b"\x08\0\0\0\0", "I;16": b"\x10\0\0\0\0", "RGB": b"\x08\2\0\0\0"}
"""Bit depth, colour type, compression, filter and interlace methods (PNG specification, 11.2.1), by Pillow's mode."""
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_SMALL = 16_384
"""Bytes of pixels up to which libpng alone is faster than :func:`shards.png.decode_rows`."""


@cache
def has_imagecodecs() -> bool:
    """Whether imagecodecs is installed with the codecs that are used here and in :mod:`shards.tiles`, and works."""
    try:
        import imagecodecs

        image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        png = bytes(imagecodecs.png_encode(image))
        works = np.array_equal(imagecodecs.png_decode(png), image) and np.array_equal(decode_rows(png, 2, 2, 6), image)
        works &= imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(image)).shape == image.shape
        return bool(works and imagecodecs.zstd_decode(imagecodecs.zstd_encode(b"tile")) == b"tile")
    except Exception:
        return False


def fast_png(data: bytes, mode: str, max_pixels: int, window: Window | None = None) -> np.ndarray | None:
    """Decode a PNG of a mode of :data:`shards.codec.MODES`, or a window of it, to ``(H, W)`` or ``(H, W, 3)``; None
    leaves it to Pillow."""
    if not has_imagecodecs() or data[: len(_PNG)] != _PNG or data[24:29] != _PNG_MODES[mode]:
        return None  # of an interlaced one, imagecodecs logs a warning of libpng
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    if not 0 < height * width <= max_pixels or (window is not None and not window.fits((height, width))):
        return None
    import imagecodecs

    rows, decode = height, imagecodecs.png_decode
    row_bytes = width * data[24] // 8 * (3 if mode == "RGB" else 1)
    if height * row_bytes > _SMALL:
        rows = height if window is None else window.top + window.height
        decode = partial(decode_rows, rows=rows, height=height, row_bytes=row_bytes)
    shape = (rows, width, 3) if mode == "RGB" else (rows, width)
    array = _decode(decode, data, shape, np.uint16 if mode == "I;16" else np.uint8)
    return array if array is None or window is None else window.cut(array)


def fast_jpeg(data: bytes, max_pixels: int) -> np.ndarray | None:
    """Decode a JPEG of three components to ``(H, W, 3)`` uint8; None leaves it to Pillow."""
    if not has_imagecodecs() or data[:3] != _JPEG or data[-2:] != _JPEG_END:
        return None
    offset = 2
    while offset + 10 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if 0xC0 <= marker <= 0xC2:  # a frame's header: precision, height, width, components (ITU-T T.81, B.2.2)
            height, width = (int.from_bytes(data[offset + field : offset + field + 2], "big") for field in (5, 7))
            if data[offset + 4] != 8 or data[offset + 9] != 3 or not 0 < height * width <= max_pixels:
                return None
            import imagecodecs

            return _decode(imagecodecs.jpeg8_decode, data, (height, width, 3), np.uint8)
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    return None


def _decode(decode: Callable[[bytes], Any], data: bytes, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """Decode by imagecodecs; None if it fails, or the array has another shape or type."""
    try:
        array: np.ndarray = decode(data)
    except Exception:  # imagecodecs's own exceptions have no common base class
        return None
    return array if array.shape == shape and array.dtype == dtype else None
