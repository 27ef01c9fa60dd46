"""Decode PNG and JPEG by imagecodecs, where it is installed (``tutelage[tiles]``): Pillow's values in less time.

Both libraries decode with libpng and libjpeg-turbo; imagecodecs saves copies. Only images whose header is exactly as
expected are decoded here. For everything else, damage above all, the functions return None, and :mod:`shards.codec`
lets Pillow decode or diagnose it.
"""

from functools import cache
from typing import Any

import numpy as np

_PNG, _PNG_MODES = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {"L": (8, 0), "I;16": (16, 0), "RGB": (8, 2)}
"""The first bytes of a PNG, and the bit depth and colour type (PNG specification, 11.2.1) of Pillow's modes."""
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@cache
def has_imagecodecs() -> bool:
    """Whether imagecodecs is installed with the codecs that are used here and in :mod:`shards.tiles`, and works."""
    try:
        import imagecodecs

        image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        works = np.array_equal(imagecodecs.png_decode(imagecodecs.png_encode(image)), image)
        works &= imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(image)).shape == image.shape
        return bool(works and imagecodecs.zstd_decode(imagecodecs.zstd_encode(b"tile")) == b"tile")
    except Exception:
        return False


def fast_png(data: bytes, mode: str, max_pixels: int) -> np.ndarray | None:
    """Decode a PNG of a mode of :data:`shards.codec.MODES` to ``(H, W)`` or ``(H, W, 3)``; None leaves it to Pillow."""
    if not has_imagecodecs() or data[: len(_PNG)] != _PNG or (data[24], data[25]) != _PNG_MODES[mode]:
        return None
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return _decode("png_decode", data, shape, np.uint16 if mode == "I;16" else np.uint8, max_pixels)


def fast_jpeg(data: bytes, max_pixels: int) -> np.ndarray | None:
    """Decode a JPEG of three components to ``(H, W, 3)`` uint8; None leaves it to Pillow."""
    if not has_imagecodecs() or data[:3] != _JPEG or data[-2:] != _JPEG_END:
        return None
    offset = 2
    while offset + 10 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if 0xC0 <= marker <= 0xC2:  # a frame's header: precision, height, width, components (ITU-T T.81, B.2.2)
            height, width = (int.from_bytes(data[offset + field : offset + field + 2], "big") for field in (5, 7))
            fits = data[offset + 4] == 8 and data[offset + 9] == 3
            return _decode("jpeg8_decode", data, (height, width, 3), np.uint8, max_pixels) if fits else None
        offset += 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
    return None


def _decode(name: str, data: bytes, shape: tuple[int, ...], dtype: Any, max_pixels: int) -> np.ndarray | None:
    """Decode by a function of imagecodecs; None if it fails, or the array has another shape or type."""
    if not 0 < shape[0] * shape[1] <= max_pixels:
        return None
    import imagecodecs

    try:
        array: np.ndarray = getattr(imagecodecs, name)(data)
    except Exception:  # imagecodecs's own exceptions have no common base class
        return None
    return array if array.shape == shape and array.dtype == dtype else None
