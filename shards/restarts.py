"""JPEG with restart markers, of which a crop decodes only the blocks that it touches.

Between two restart markers nothing depends on what lies before them (ITU-T T.81, F.1.1.5.1 and F.2.2.4), so the blocks
of a rectangle, in order and with their markers numbered anew, are the entropy-coded data of a smaller JPEG. Without
chroma subsampling no block's pixels depend on another's: the smaller image's pixels are exactly those of the whole.
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
    """A JPEG without chroma subsampling of ``(H, W, 3)`` uint8, with a restart marker after every few blocks."""
    across = -(-rgb.shape[1] // _BLOCK)
    interval = max(part for part in range(1, min(_INTERVAL, across) + 1) if across % part == 0)
    if interval < _INTERVAL // 2:  # so few that their markers would weigh: then a row of blocks each
        interval = across
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=0, restart_marker_blocks=interval)
    return buffer.getvalue()


def cut_jpeg(data: bytes, window: Window) -> tuple[bytes, Window]:
    """A smaller JPEG that holds a window of another's pixels, unchanged, and where the window lies in it.

    What cannot be cut (other encodings than :func:`encode_restarts`'s, which any JPEG may have), is over the limit of
    pixels or is not of the window's frame comes back whole: whoever decodes it says what is wrong.
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
    moved = frame.scan + np.cumsum(after - first) - after  # how far each row of blocks has moved
    numbered = (markers + moved[:, None]).ravel() + 1
    cut[numbered] = 0xD0 + np.arange(len(numbered)) % 8
    cut[-1] = _END[-1]
    return cut.tobytes(), window.within(rows, columns, _BLOCK, width)


def _markers(data: bytes, start: int) -> np.ndarray:
    """Where restart markers stand in entropy-coded data from a byte on: FF, which 00 follows where it is data."""
    coded = np.frombuffer(data[start : -len(_END)], np.uint8)  # nothing where a damaged header leads beyond the end
    at = np.flatnonzero(coded[:-1] == 0xFF)
    return start + at[coded[at + 1] & 0xF8 == 0xD0]


@dataclass(frozen=True)
class _Frame:
    """What cutting needs to know of a JPEG: byte positions of its size and of its entropy-coded data."""

    size: int
    scan: int
    height: int
    width: int
    interval: int

    @property
    def across(self) -> int:
        return -(-self.width // _BLOCK)


def _parse(data: bytes) -> _Frame | None:
    """The header (T.81, annex B) of a baseline JPEG of one scan with restart markers, in blocks of 8 by 8 pixels whose
    rows hold a whole number of intervals; else None."""
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
