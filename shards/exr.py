"""OpenEXR files: one channel of floats, as renderers write depth (https://openexr.com, ``tutelage[exr]``)."""

from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import MAX_PIXELS
from shards.errors import BadFile, UserError
from shards.extras import need

_USUAL = ("Z", "V", "Y", "depth", "Depth")
"""Last parts of the names that programs give a channel of depth: OpenEXR's own, Blender's, a grey image's."""


def read_exr(path: Path, channel: str | None = None) -> np.ndarray:
    """One channel of a file of one part, ``(H, W)`` float32 of its display window; 0 outside its data window.

    Args:
        channel: its name. None for the only one there is, or the only one with a usual name of depth, or any of
            several that hold the same.

    Raises:
        UserError: when OpenEXR is not installed, the file cannot be read, has several parts or too many pixels, or it
            is not known which channel is meant.
    """
    need(f"{path.name} (EXR)", "OpenEXR")
    import OpenEXR

    try:
        height, width, (top, left) = _windows(OpenEXR.File(str(path), header_only=True, num_threads=0).header())
    except Exception as error:  # bindings of C++ raise nearly any
        raise BadFile("is not an EXR file that can be read", file=path, hint="render or copy it again") from error
    if height * width > MAX_PIXELS:
        what = f"{height * width} pixels are over the limit of {MAX_PIXELS}"
        raise UserError(what, file=path, hint="resize the frame before it is packed")
    try:
        file = OpenEXR.File(str(path), separate_channels=True, num_threads=0)
        found = {name: each.pixels for name, each in file.channels().items()}  # raises where pixels are damaged
    except Exception as error:
        raise BadFile("is not an EXR file that can be decoded", file=path, hint="render or copy it again") from error
    if len(file.parts) != 1:
        raise UserError(f"has {len(file.parts)} parts", file=path, hint="write one part, with a channel of the values")
    pixels = found[_choose(path, found, channel)].astype(np.float32)
    whole = np.zeros((height, width), np.float32)
    rows, columns = (slice(max(0, at), max(0, at + side)) for at, side in zip((top, left), pixels.shape, strict=True))
    inside = pixels[max(0, -top) : height - top, max(0, -left) : width - left]
    whole[rows, columns] = inside
    return whole


def _windows(header: dict[str, Any]) -> tuple[int, int, tuple[int, int]]:
    """Height and width of the display window, and where in it the data window begins (row, column)."""
    (x0, y0), (x1, y1) = (map(int, corner) for corner in header["displayWindow"])
    x, y = map(int, header["dataWindow"][0])
    if x1 < x0 or y1 < y0:
        raise ValueError("an empty window")
    return y1 - y0 + 1, x1 - x0 + 1, (y - y0, x - x0)


def _choose(path: Path, found: dict[str, np.ndarray], asked: str | None) -> str:
    """The channel that is meant."""
    names = sorted(found)
    known = ", ".join(names) or "none"
    if asked is not None:
        if asked not in found:
            raise UserError(f"has no channel {asked}", file=path, hint=f"it has {known}")
        return asked
    usual = [name for name in names if name.rpartition(".")[2] in _USUAL]
    if len(names) == 1 or len(usual) == 1:
        return (usual or names)[0]
    if names and all(np.array_equal(found[names[0]], found[name], equal_nan=True) for name in names[1:]):
        return names[0]
    hint = "declare the one that holds the values in dataset.yaml, channel: NAME"
    raise UserError(f"has the channels {known}", file=path, hint=hint)
