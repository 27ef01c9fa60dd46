"""Lossless tiled images, TIFF 6.0 with Zstandard, so that a crop decodes only the tiles that it touches.

Any TIFF reader opens them (compression 50000; horizontal differencing, predictor 2, for pictures and quantities).
Pillow, a dependency of Tutelage, decodes whole images; tifffile writes them and imagecodecs decodes single tiles
(``tutelage[tiles]``). Only the subset of TIFF that is written here is read.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from shards.codec import MODES, check_pixels, reason_of
from shards.errors import BadFile, UserError
from shards.fastdecode import has_imagecodecs
from shards.window import Window, cut_window

_TILE = (128, 256)
_LEVEL = 9
_STEP = 16  # the sides of a tile are multiples of it (TIFF 6.0, section 15)
_BROKEN = "replace the file or make it again"
_TAGS = {  # number: (name, values that are written, value where the tag is absent)
    259: ("compression", (50000,), 1),
    262: ("photometric interpretation", (1, 2), None),
    274: ("orientation", (1,), 1),
    284: ("planar configuration", (1,), 1),
    317: ("predictor", (1, 2), 1),
    339: ("sample format", (1,), 1),
}


def encode_tiles(array: np.ndarray) -> bytes:
    """Encode ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8, as a TIFF."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        array,
        byteorder="<",
        tile=[min(most, _rounded(side)) for most, side in zip(_TILE, array.shape[:2], strict=True)],
        photometric="rgb" if array.ndim == 3 else "minisblack",
        compression="zstd",
        compressionargs={"level": _LEVEL},
        predictor=array.ndim == 3 or array.dtype != np.uint8,  # differences of class numbers are meaningless
        metadata=None,
        software=False,
    )
    return buffer.getvalue()


def decode_tiles(data: bytes, mode: str, window: Window | None = None) -> np.ndarray:
    """Decode such a file of Pillow's mode ``L``, ``I;16`` or ``RGB`` to an array, whole or a window of it.

    Raises:
        UserError: when it does not decode, has another mode or another size than the window's frame, or is a TIFF that
            :func:`encode_tiles` does not write.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("TIFF",))
        header = _header(image)
    except UserError:
        raise
    except Exception as error:  # Pillow raises nearly any exception for damaged files
        raise BadFile(f"is not a TIFF image that can be decoded{reason_of(error)}", hint=_BROKEN) from error
    if image.mode != mode:
        raise UserError(f"is a {image.mode} image, expected {mode}", hint="prepare the data set again")
    if window is not None:
        window.check((header.height, header.width))
    try:
        if window is not None and has_imagecodecs():
            return header.window(data, mode, window)
        image.load()
    except Exception as error:
        raise BadFile(f"is not a TIFF image that can be decoded{reason_of(error)}", hint=_BROKEN) from error
    return cut_window(np.asarray(image), window)


@dataclass(frozen=True)
class _Header:
    """Size of an image, and the positions of its tiles in the file."""

    height: int
    width: int
    tile: tuple[int, int]
    differences: bool
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def window(self, data: bytes, mode: str, window: Window) -> np.ndarray:
        """Decode the tiles that a window touches, and return the window."""
        import imagecodecs

        height, width = self.tile
        kind, channels = MODES[mode]
        pixel_shape = (channels,) if channels > 1 else ()
        rows, columns = window.blocks(height, width)
        across = -(-self.width // width)
        canvas = np.empty((len(rows) * height, len(columns) * width, *pixel_shape), kind)
        bytes_of_tile = height * width * channels * canvas.itemsize
        for row in rows:
            for column in columns:
                number = row * across + column
                start, size = self.offsets[number], self.sizes[number]
                tile = np.frombuffer(imagecodecs.zstd_decode(data[start : start + size], out=bytes_of_tile), kind)
                tile = tile.reshape(height, width, *pixel_shape)
                top, left = (row - rows.start) * height, (column - columns.start) * width
                part = canvas[top : top + height, left : left + width]
                if self.differences:
                    imagecodecs.delta_decode(tile, axis=1, out=part)
                else:
                    part[...] = tile
        return window.within(rows, columns, height, width).cut(canvas)


def _header(image: Image.Image) -> _Header:
    """Read the header of an opened TIFF.

    Raises:
        UserError: when it is outside the subset that :func:`encode_tiles` writes.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    check_pixels(image)
    for number, (name, written, absent) in _TAGS.items():
        value = tags.get(number, absent)
        values = value if isinstance(value, tuple) else (value,)
        if not set(values) <= set(written):
            raise UserError(f"is a TIFF of {name} {value}, which is not read", hint="prepare the data set again")
    if 322 not in tags or tags.prefix != b"II":
        raise UserError("is a TIFF without tiles, or big-endian, which is not read", hint="prepare the data set again")
    tile = (tags[323], tags[322])
    offsets, sizes = (value if isinstance(value, tuple) else (value,) for value in (tags[324], tags[325]))
    sides = (image.height, image.width)
    count = 1
    for part, side in zip(tile, sides, strict=True):
        if not 0 < part <= _rounded(side):
            raise UserError(f"has tiles of {tile[0]}x{tile[1]}", hint="prepare the data set again")
        count *= -(-side // part)
    if not len(offsets) == len(sizes) == count:
        raise UserError(f"lists {len(offsets)} tiles, where it has {count}", hint="prepare the data set again")
    return _Header(image.height, image.width, tile, tags.get(317, 1) == 2, offsets, sizes)


def _rounded(side: int) -> int:
    return -(-side // _STEP) * _STEP
