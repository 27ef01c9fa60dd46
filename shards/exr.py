"""OpenEXR files: one channel of floats, as renderers write depth (https://openexr.com, ``tutelage[exr]``)."""

from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import MAX_PIXELS
from shards.errors import BadFile, UserError
from shards.extras import need

_USUAL = ("Z", "V", "Y", "depth", "Depth")
"""Last components of the usual names of a depth channel: OpenEXR's, Blender's, that of a grey image."""


def read_exr(path: Path, channel: str | None = None) -> np.ndarray:
    """Read one channel of a single-part file: ``(H, W)`` float32 of its display window; 0 outside its data window.

    Args:
        path: the file.
        channel: its name. None for the only channel, or the only one with a usual name of depth, or any of several
            with equal values.

    Raises:
        UserError: when OpenEXR is not installed, the file cannot be read, has several parts or too many pixels, or the
            choice of the channel is ambiguous.
    """
    need(f"{path.name} (EXR)", "OpenEXR")
    import OpenEXR

    try:
        height, width, (top, left) = _windows(OpenEXR.File(str(path), header_only=True, num_threads=0).header())
    except Exception as error:  # the C++ bindings raise exceptions of many types
        raise BadFile("is not an EXR file that can be read", file=path, hint="render or copy it again") from error
    if height * width > MAX_PIXELS:
        message = f"{height * width} pixels are over the limit of {MAX_PIXELS}"
        raise BadFile(message, file=path, hint="resize the frame before it is packed")
    try:
        file = OpenEXR.File(str(path), separate_channels=True, num_threads=0)
        # raises where pixels are damaged
        channels = {name: entry.pixels for name, entry in file.channels().items()}
    except Exception as error:
        raise BadFile("is not an EXR file that can be decoded", file=path, hint="render or copy it again") from error
    if len(file.parts) != 1:
        raise UserError(f"has {len(file.parts)} parts", file=path, hint="write one part, with a channel of the values")
    pixels = channels[_choose_channel(path, channels, channel)].astype(np.float32)
    display = np.zeros((height, width), np.float32)
    rows, columns = (
        slice(max(0, start), max(0, start + side)) for start, side in zip((top, left), pixels.shape, strict=True)
    )
    display[rows, columns] = pixels[max(0, -top) : height - top, max(0, -left) : width - left]
    return display


def _windows(header: dict[str, Any]) -> tuple[int, int, tuple[int, int]]:
    """Return height and width of the display window, and where in it the data window begins (row, column)."""
    (x0, y0), (x1, y1) = (map(int, corner) for corner in header["displayWindow"])
    x, y = map(int, header["dataWindow"][0])
    if x1 < x0 or y1 < y0:
        raise ValueError("an empty window")
    return y1 - y0 + 1, x1 - x0 + 1, (y - y0, x - x0)


def _choose_channel(path: Path, channels: dict[str, np.ndarray], requested: str | None) -> str:
    """Return the name of the channel to read."""
    names = sorted(channels)
    listing = ", ".join(names) or "none"
    if requested is not None:
        if requested not in channels:
            raise UserError(f"has no channel {requested}", file=path, hint=f"it has {listing}")
        return requested
    usual = [name for name in names if name.rpartition(".")[2] in _USUAL]
    if len(names) == 1 or len(usual) == 1:
        return (usual or names)[0]
    if names and all(np.array_equal(channels[names[0]], channels[name], equal_nan=True) for name in names[1:]):
        return names[0]
    hint = "declare the one that holds the values in dataset.yaml, channel: NAME"
    raise UserError(f"has the channels {listing}", file=path, hint=hint)
