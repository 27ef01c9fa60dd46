"""Lossless images in tiles, of which a crop decodes only those that it touches: TIFF 6.0 with Zstandard.

Any reader of TIFF opens them (compression 50000; horizontal differencing, predictor 2, of pictures and quantities).
Pillow decodes them whole, with no more installed than Tutelage; writing them, and decoding single tiles, is
imagecodecs' and tifffile's (``tutelage[tiles]``).
"""

import io
from functools import cache
from typing import Any

import numpy as np

from shards.codec import MAX_PIXELS, MODES, open_image
from shards.errors import BadFile, UserError
from shards.extras import installed
from shards.window import Window

_TILE = (128, 256)
_LEVEL = 9


def encode_tiles(array: np.ndarray) -> bytes:
    """``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8, as a TIFF."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        tile=[min(most, -(-side // 16) * 16) for most, side in zip(_TILE, array.shape[:2], strict=True)],
        photometric="rgb" if array.ndim == 3 else "minisblack",
        compression="zstd",
        compressionargs={"level": _LEVEL},
        predictor=array.ndim == 3 or array.dtype != np.uint8,  # differences of class numbers mean nothing
        metadata=None,
        software=False,
    )
    return buffer.getvalue()


def decode_tiles(data: bytes, mode: str, window: Window | None = None) -> np.ndarray:
    """The numbers that such a file stores of Pillow's ``L``, ``I;16`` or ``RGB``, all or those of a window.

    Raises:
        UserError: when it does not decode, or has another mode.
    """
    if window is not None and fast():
        return _decode_window(data, mode, window)
    image = open_image(data, "TIFF")
    if image.mode != mode:
        raise UserError(f"is a {image.mode} image, where {mode} is due", hint="prepare the data set again")
    array = np.asarray(image)
    return array if window is None else window.cut(array)


@cache
def fast() -> bool:
    """Whether the extra is installed with which a window is decoded alone."""
    return installed("tifffile") and installed("imagecodecs")


def _decode_window(data: bytes, mode: str, window: Window) -> np.ndarray:
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            return window_of(file.pages[0], data, mode, window)
    except UserError:
        raise
    except Exception as error:  # bytes that are no TIFF raise nearly any
        hint = "replace the file or make it again"
        raise BadFile(f"is not a TIFF that can be decoded ({error})", hint=hint) from error


def window_of(page: Any, data: bytes, mode: str, window: Window) -> np.ndarray:
    """What a page of a TIFF holds in a window.

    Raises:
        UserError: when it has another mode, or ends before the window does.
    """
    dtype, channels = MODES[mode]
    if page.dtype != dtype or page.samplesperpixel != channels or not page.is_tiled:
        what = f"holds {page.samplesperpixel} channels of {page.dtype}, where {channels} of {dtype} are due"
        raise UserError(what, hint="prepare the data set again")
    height, width = page.tilelength, page.tilewidth
    if max(page.imagelength * page.imagewidth, height * width) > MAX_PIXELS:
        raise UserError(f"has more than the limit of {MAX_PIXELS} pixels", hint="resize the image")
    if window.top + window.height > page.imagelength or window.left + window.width > page.imagewidth:
        what = f"is {page.imagelength}x{page.imagewidth}, smaller than the window"
        raise UserError(what, hint="prepare the data set again")
    rows, columns = window.blocks(height, width)
    across = -(-page.imagewidth // width)
    shape = (len(rows) * height, len(columns) * width, *([channels] if channels > 1 else []))
    found = np.empty(shape, dtype)
    for row in rows:
        for column in columns:
            number = row * across + column
            offset, size = page.dataoffsets[number], page.databytecounts[number]
            tile, _, _ = page.decode(data[offset : offset + size], number)
            tile = tile.reshape(tile.shape[1 : 1 + found.ndim])
            top, left = (row - rows.start) * height, (column - columns.start) * width
            found[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return window.within(rows, columns, height, width).cut(found)
