"""Decode PNG by libdeflate, which inflates about three times as fast as zlib, and libpng, which undoes the filters.

libpng takes no inflated rows, so they reach it as a PNG whose data are stored, not compressed (RFC 1951, 3.2.4), and
which ends with the last row that is needed. Both libraries come with imagecodecs.
"""

import zlib
from collections.abc import Iterable, Iterator

import numpy as np

_DATA, _END = b"IDAT", b"\0\0\0\0IEND\xae\x42\x60\x82"
_STORED = 65535  # most bytes of a stored block


def decode_rows(data: bytes, rows: int, height: int, row_bytes: int) -> np.ndarray:
    """Decode the upper rows of a PNG that is not interlaced.

    Args:
        data: the file, whose first chunk is IHDR.
        rows: number of rows to decode.
        height: number of rows of the image.
        row_bytes: bytes of a row, without its filter type.

    Raises:
        Exception: of imagecodecs, when the file is damaged.
    """
    import imagecodecs

    pixels = imagecodecs.deflate_decode(b"".join(_image_data(data)), out=height * (1 + row_bytes))
    header = b"IHDR" + data[16:20] + rows.to_bytes(4, "big") + data[24:29]
    stream = [_DATA, *_stored(memoryview(pixels)[: rows * (1 + row_bytes)])]
    size = sum(map(len, stream)) - len(_DATA)
    parts = [data[:12], header, _crc([header]), size.to_bytes(4, "big"), *stream, _crc(stream), _END]
    array: np.ndarray = imagecodecs.png_decode(b"".join(parts))
    return array


def _image_data(data: bytes) -> Iterator[memoryview]:
    """Yield the contents of the IDAT chunks (PNG specification, 5.3)."""
    view, place = memoryview(data), 8
    while place + 8 <= len(data):
        size = int.from_bytes(view[place : place + 4], "big")
        if view[place + 4 : place + 8] == _DATA:
            yield view[place + 8 : place + 8 + size]
        place += 12 + size


def _stored(pixels: memoryview) -> Iterator[bytes | memoryview]:
    """Yield the parts of a zlib stream of stored blocks (RFC 1950, 2.2; RFC 1951, 3.2.4)."""
    yield b"\x78\x01"
    for start in range(0, len(pixels), _STORED):
        block = pixels[start : start + _STORED]
        last = start + len(block) == len(pixels)
        yield bytes([last]) + len(block).to_bytes(2, "little") + (len(block) ^ 0xFFFF).to_bytes(2, "little")
        yield block
    yield zlib.adler32(pixels).to_bytes(4, "big")


def _crc(parts: Iterable[bytes | memoryview]) -> bytes:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc.to_bytes(4, "big")
