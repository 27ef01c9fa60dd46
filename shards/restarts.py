"""JPEG with restart markers, so that a crop decodes only the blocks that it touches.

The data between two restart markers do not depend on earlier data (ITU-T T.81, F.1.1.5.1 and F.2.2.4), so the blocks of
a rectangle, in order and with renumbered markers, are the entropy-coded data of a smaller JPEG. Without chroma
subsampling no block's pixels depend on another block: the smaller image has exactly the pixels of the whole one.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shards.codec import MAX_PIXELS
from shards.window import Window

_BLOCK = 8
_INTERVAL = 8
_BASELINE, _RESTART, _SCAN, _END = 0xC0, 0xDD, 0xDA, b"\xff\xd9"


def encode_restarts(rgb: np.ndarray, quality: int = 95) -> bytes:
    """Encode ``(H, W, 3)`` uint8 as a JPEG without chroma subsampling, with a restart marker after every few blocks."""
    across = -(-rgb.shape[1] // _BLOCK)
    interval = max(part for part in range(1, min(_INTERVAL, across) + 1) if across % part == 0)
    if interval < _INTERVAL // 2:  # so short that markers would take much space: use whole rows of blocks
        interval = across
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=0, restart_marker_blocks=interval)
    return buffer.getvalue()


def cut_jpeg(data: bytes, window: Window) -> tuple[bytes, Window]:
    """Return a smaller JPEG that holds a window of another's pixels, unchanged, and where the window lies in it.

    A JPEG that cannot be cut (any encoding other than that of :func:`encode_restarts`), that is over the limit of
    pixels or that is not of the window's frame is returned whole, and decoding it raises the error.
    """
    frame = _parse(data)
    if frame is None or frame.height * frame.width > MAX_PIXELS or not window.fits((frame.height, frame.width)):
        return data, window
    width = frame.interval * _BLOCK
    per_row = frame.across // frame.interval
    markers = np.append(_markers(data, frame.scan), len(data) - len(_END))  # one after each segment
    if len(markers) != per_row * -(-frame.height // _BLOCK):
        return data, window
    rows, columns = window.blocks(_BLOCK, width)
    size = [min(rows.stop * _BLOCK, frame.height) - rows.start * _BLOCK]
    size += [min(columns.stop * width, frame.width) - columns.start * width]
    first = np.append(frame.scan, markers[:-1] + len(_END)).reshape(-1, per_row)[rows.start : rows.stop, columns.start]
    markers = markers.reshape(-1, per_row)[rows.start : rows.stop, columns.start : columns.stop]
    after = markers[:, -1] + len(_END)
    parts = [data[start:end] for start, end in zip(first.tolist(), after.tolist(), strict=True)]
    cut = np.frombuffer(bytearray().join([data[: frame.scan], *parts]), np.uint8)
    cut[frame.size : frame.size + 4] = [*size[0].to_bytes(2, "big"), *size[1].to_bytes(2, "big")]
    moved = frame.scan + np.cumsum(after - first) - after  # offset of each row of blocks
    numbered = (markers + moved[:, None]).ravel() + 1
    cut[numbered] = 0xD0 + np.arange(len(numbered)) % 8
    cut[-1] = _END[-1]
    return cut.tobytes(), window.within(rows, columns, _BLOCK, width)


def _markers(data: bytes, start: int) -> np.ndarray:
    """Return the positions of restart markers in entropy-coded data from a byte on; FF 00 is data, not a marker."""
    coded = np.frombuffer(data[start : -len(_END)], np.uint8)  # empty where a damaged header points beyond the end
    at = np.flatnonzero(coded[:-1] == 0xFF)
    return start + at[coded[at + 1] & 0xF8 == 0xD0]


@dataclass(frozen=True)
class _Frame:
    """Header of a JPEG that can be cut; ``size`` and ``scan`` are byte positions of its size and entropy-coded data."""

    size: int
    scan: int
    height: int
    width: int
    interval: int

    @property
    def across(self) -> int:
        return -(-self.width // _BLOCK)


def _parse(data: bytes) -> _Frame | None:
    """Parse the header (T.81, annex B) of a baseline JPEG of one scan with restart markers, in blocks of 8 by 8 pixels
    whose rows hold a whole number of intervals; None for any other file."""
    if data[:2] != b"\xff\xd8" or data[-2:] != _END:
        return None
    place, size, height, width, interval, components = 2, 0, 0, 0, 0, 0
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length]
        if marker == _BASELINE and len(body) >= 6:
            size, components = place + 5, body[5]
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            if any(factor != 0x11 for factor in body[7::3]):
                return None  # subsampled
        elif 0xC0 < marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None  # progressive, lossless, arithmetic
        elif marker == _RESTART:
            interval = int.from_bytes(body[:2], "big")
        elif marker == _SCAN:
            frame = _Frame(size, place + 2 + length, height, width, interval)
            fits = size and interval and body[:1] == bytes([components]) and height and width
            return frame if fits and frame.across % interval == 0 else None
        place += 2 + length
    return None
