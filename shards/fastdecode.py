"""PNG and JPEG by imagecodecs, where it is installed (``tutelage[tiles]``): Pillow's numbers in less time.

Both decode with libpng and libjpeg-turbo; what is saved are copies. Only what a header says to be just what is due is
decoded here. Of everything else, damage above all, None comes back, and :mod:`shards.codec` has Pillow say what it is.
"""

from functools import cache
from typing import Any

import numpy as np

_PNG, _PNG_MODES = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", {"L": (8, 0), "I;16": (16, 0), "RGB": (8, 2)}
"""How a PNG begins, and the bit depth and colour type (PNG specification, 11.2.1) of Pillow's modes."""
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@cache
def fast() -> bool:
    """Whether imagecodecs is installed, with what is needed of it, and works."""
    try:
        import imagecodecs

        image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        same = np.array_equal(imagecodecs.png_decode(imagecodecs.png_encode(image)), image)
        same &= imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(image)).shape == image.shape
        return bool(same and imagecodecs.zstd_decode(imagecodecs.zstd_encode(b"tile")) == b"tile")
    except Exception:
        return False


def fast_png(data: bytes, mode: str, most: int) -> np.ndarray | None:
    """``(H, W)`` or ``(H, W, 3)`` of a PNG of a mode of :data:`shards.codec.MODES`, of at most so many pixels."""
    if not fast() or data[: len(_PNG)] != _PNG or (data[24], data[25]) != _PNG_MODES[mode]:
        return None
    height, width = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    due = (height, width, 3) if mode == "RGB" else (height, width)
    return _decoded("png_decode", data, due, np.uint16 if mode == "I;16" else np.uint8, most)


def fast_jpeg(data: bytes, most: int) -> np.ndarray | None:
    """``(H, W, 3)`` uint8 of a JPEG with three components, of at most so many pixels."""
    if not fast() or data[:3] != _JPEG or data[-2:] != _JPEG_END:
        return None
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xC2:  # a frame's header: precision, height, width, components (ITU-T T.81, B.2.2)
            height, width = (int.from_bytes(data[place + at : place + at + 2], "big") for at in (5, 7))
            fits = data[place + 4] == 8 and data[place + 9] == 3
            return _decoded("jpeg8_decode", data, (height, width, 3), np.uint8, most) if fits else None
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _decoded(name: str, data: bytes, due: tuple[int, ...], dtype: Any, most: int) -> np.ndarray | None:
    if not 0 < due[0] * due[1] <= most:
        return None
    import imagecodecs

    try:
        array: np.ndarray = getattr(imagecodecs, name)(data)
    except Exception:  # of imagecodecs's own, which have no common name
        return None
    return array if array.shape == due and array.dtype == dtype else None
